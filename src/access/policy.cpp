// SPDX-License-Identifier: Apache-2.0
#include "hffs/policy.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <set>

#include "hffs/guarded.h"

namespace hffs {
namespace {

// TASK_COMM_LEN, without the end.
constexpr std::size_t kLongestComm = 15;

constexpr std::array kTypes{RepoType::dataset, RepoType::space, RepoType::kernel};

bool matches_any(const std::vector<RepoPattern>& patterns, const RepoId& repo) {
  return std::ranges::any_of(patterns, [&](const auto& each) { return each.matches(repo); });
}

std::string cut(std::string_view name) {
  return std::string(name.substr(0, kLongestComm));
}

std::optional<std::string> first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return {};
  return line;
}

// The process's name, not the thread's, which programs set as they like.
std::optional<std::string> process_name(pid_t thread) {
  std::ifstream file(fmt::format("/proc/{}/status", thread));
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("Tgid:"))
      return first_line(fmt::format("/proc/{}/comm", std::atoi(line.c_str() + 5)));
  return {};
}

class Enforced final : public AccessControl {
 public:
  Enforced(std::shared_ptr<const Policy> policy, std::unique_ptr<AccessControl> inner)
      : policy_(std::move(policy)), inner_(std::move(inner)) {}

  void decide(const Caller& caller, const RepoId& repo, Done<Pass> done) override {
    const auto no = [repo] { return fail(Code::not_found, "{} is not allowed here", repo.text()); };
    if (!permits(repo)) return done(no());
    inner_->decide(caller, repo, [this, repo, no, done = std::move(done)](Result<Pass> pass) mutable {
      // By now its name on the Hub may be known.
      if (pass && !permits(repo)) pass = no();
      done(std::move(pass));
    });
  }
  bool sees(const Caller& caller, const RepoId& repo) override {
    return permits(repo) && inner_->sees(caller, repo);
  }
  bool is_open(const RepoId& repo) override { return permits(repo) && inner_->is_open(repo); }
  bool lists(const Caller& caller, const RepoId& repo) override {
    return permits(repo) && inner_->lists(caller, repo);
  }
  bool worth_asking(const Caller& caller, const RepoId& repo) override {
    return permits(repo) && inner_->worth_asking(caller, repo);
  }
  void connect(Look look, Keep keep) override { inner_->connect(std::move(look), std::move(keep)); }
  void recall(const RepoId& repo, const RepoId& canonical, const Standing& standing) override {
    hear(repo, canonical);
    inner_->recall(repo, canonical, standing);
  }
  std::optional<Standing> note(const RepoId& repo, const RepoId& canonical,
                               Visibility visibility) override {
    hear(repo, canonical);
    return inner_->note(repo, canonical, visibility);
  }
  void note_import(const RepoId& repo, uid_t importer) override { inner_->note_import(repo, importer); }
  void forget(uid_t user) override { inner_->forget(user); }

 private:
  // A repository must be permitted by both of its names.
  bool permits(const RepoId& repo) {
    if (!policy_->restricts()) return true;
    if (!policy_->permits(repo)) return false;
    auto banned = banned_.lock();
    return !banned->contains(repo.layout());
  }
  void hear(const RepoId& repo, const RepoId& canonical) {
    if (!policy_->restricts()) return;
    auto banned = banned_.lock();
    if (policy_->permits(canonical)) banned->erase(repo.layout());
    else banned->insert(repo.layout());
  }

  const std::shared_ptr<const Policy> policy_;
  const std::unique_ptr<AccessControl> inner_;
  Guarded<std::set<std::string>> banned_;  // by what they are called on the Hub
};

}  // namespace

Result<RepoPattern> RepoPattern::parse(std::string_view text) {
  RepoType type = RepoType::model;
  std::string_view name = text;
  for (const RepoType each : kTypes)
    if (const std::string prefix = fmt::format("{}/", plural(each)); text.starts_with(prefix)) {
      type = each;
      name.remove_prefix(prefix.size());
    }
  constexpr std::string_view kKnown = "-._*?[]!/";
  const auto known = [&](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kKnown.find(static_cast<char>(c)) != kKnown.npos;
  };
  if (name.empty() || name.starts_with('/') || name.ends_with('/') || name.starts_with("models/") ||
      std::ranges::count(name, '/') > 1 || !std::ranges::all_of(name, known))
    return fail(Code::invalid,
                "'{}' matches no repository; write \"ORG/*\", or \"datasets/ORG/*\" and its like",
                text);
  return RepoPattern(type, std::string(name));
}

bool RepoPattern::matches(const RepoId& repo) const {
  return repo.type() == type_ && ::fnmatch(name_.c_str(), repo.name().c_str(), FNM_NOESCAPE) == 0;
}

std::string RepoPattern::text() const {
  return type_ == RepoType::model ? name_ : fmt::format("{}/{}", plural(type_), name_);
}

std::vector<std::string> known_crawlers() {
  return {// locate
          "updatedb", "updatedb.plocate", "updatedb.mlocate", "plocate-build", "mlocate",
          // desktops' search
          "tracker-miner-fs", "tracker-extract", "localsearch-3", "localsearch-extractor",
          "baloo_file", "baloo_file_extractor", "recollindex",
          // backups
          "restic", "borg", "duplicity", "rsnapshot", "kopia", "bacula-fd", "bareos-fd",
          // scanners
          "clamscan", "clamdscan", "clamd", "clamonacc", "freshclam", "aide"};
}

Policy::Policy(Rules rules) : rules_(std::move(rules)) {
  for (const std::string& name : rules_.no_fetch) names_.push_back(cut(name));
}

bool Policy::permits(const RepoId& repo) const {
  if (matches_any(rules_.deny, repo)) return false;
  return !rules_.allow || matches_any(*rules_.allow, repo);
}

std::optional<std::string> Policy::held_back(pid_t thread) const {
  if (names_.empty() || thread <= 0) return {};
  auto name = process_name(thread);
  if (!name || std::ranges::find(names_, *name) == names_.end()) return {};
  return name;
}

std::unique_ptr<AccessControl> enforce_policy(std::shared_ptr<const Policy> policy,
                                              std::unique_ptr<AccessControl> inner) {
  return std::make_unique<Enforced>(std::move(policy), std::move(inner));
}

}  // namespace hffs
