// SPDX-License-Identifier: Apache-2.0
#include "verdicts.h"

namespace hffs {
namespace {

class Gate final : public AccessControl {
 public:
  Gate(std::shared_ptr<access::Verdicts> verdicts, Grants& grants)
      : verdicts_(std::move(verdicts)) {
    grants.on_refused([weak = std::weak_ptr(verdicts_)](const RepoId& repo, uid_t user) {
      if (const auto known = weak.lock()) known->refused(repo, user);
    });
  }
  void decide(const Caller& caller, const RepoId& repo, Done<Pass> done) override {
    verdicts_->decide(caller, repo, std::move(done));
  }
  bool sees(const Caller& caller, const RepoId& repo) override { return verdicts_->sees(caller, repo); }
  bool is_open(const RepoId& repo) override { return verdicts_->is_open(repo); }
  bool lists(const Caller& caller, const RepoId& repo) override { return verdicts_->lists(caller, repo); }
  bool worth_asking(const Caller& caller, const RepoId& repo) override {
    return verdicts_->worth_asking(caller, repo);
  }
  void connect(Look look, Keep keep) override { verdicts_->connect(std::move(look), std::move(keep)); }
  void recall(const RepoId& repo, const RepoId& canonical, const Standing& standing) override {
    verdicts_->recall(repo, canonical, standing);
  }
  std::optional<Standing> note(const RepoId& repo, const RepoId& canonical,
                               Visibility visibility) override {
    return verdicts_->note(repo, canonical, visibility);
  }
  void note_import(const RepoId& repo, uid_t importer) override {
    verdicts_->note_import(repo, importer);
  }
  void forget(uid_t user) override { verdicts_->forget(user); }

 private:
  const std::shared_ptr<access::Verdicts> verdicts_;
};

}  // namespace

std::unique_ptr<AccessControl> open_access(AccessOptions options, Origin& origin, Wallet& wallet,
                                           Grants& grants, const Clock& clock) {
  return std::make_unique<Gate>(
      std::make_shared<access::Verdicts>(std::move(options), origin, wallet, grants, clock), grants);
}

}  // namespace hffs
