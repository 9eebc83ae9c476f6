// SPDX-License-Identifier: Apache-2.0
#include "walk.h"

#include <algorithm>

namespace hffs {
namespace {

class NameWalk : public std::enable_shared_from_this<NameWalk> {
 public:
  NameWalk(std::shared_ptr<Catalog> catalog, const Caller& caller, std::deque<std::string> names,
       Done<NodeId> done)
      : catalog_(std::move(catalog)),
        caller_(caller),
        names_(std::move(names)),
        done_(std::move(done)) {}

  void step(NodeId node) {
    if (names_.empty()) return done_(node);
    const std::string name = std::move(names_.front());
    names_.pop_front();
    catalog_->lookup(caller_, node, name, [self = shared_from_this(), name](Result<Entry> entry) {
      if (!entry) return self->done_(fail(entry));
      if (entry->node == NodeId{}) return self->done_(fail(Code::not_found, "no {}", name));
      self->step(entry->node);
    });
  }

 private:
  const std::shared_ptr<Catalog> catalog_;
  const Caller caller_;
  std::deque<std::string> names_;
  Done<NodeId> done_;
};

}  // namespace

void walk(std::shared_ptr<Catalog> catalog, const Caller& caller, std::deque<std::string> names,
          Done<NodeId> done) {
  std::make_shared<NameWalk>(std::move(catalog), caller, std::move(names), std::move(done))
      ->step(kRootNode);
}

void find_commit(std::shared_ptr<Catalog> catalog, const Caller& caller, const RepoId& repo,
                 const std::string& revision, Done<CommitId> done) {
  const auto commit = CommitId::parse(revision);
  std::deque<std::string> names{repo.layout(), commit ? "snapshots" : "refs"};
  for (std::string_view rest = revision; !rest.empty();) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    names.emplace_back(rest.substr(0, slash));
    rest.remove_prefix(std::min(slash + 1, rest.size()));
  }
  auto raw = catalog;
  walk(std::move(catalog), caller, std::move(names),
       [catalog = std::move(raw), known = commit ? std::optional(*commit) : std::nullopt,
        what = fmt::format("{}@{}", repo.text(), revision),
        done = std::move(done)](Result<NodeId> node) mutable {
         if (!node) return done(fail(std::move(node.error()).during(what)));
         if (known) return done(std::move(*known));
         auto text = catalog->read_text(*node);
         if (!text) return done(fail(std::move(text.error()).during(what)));
         done(CommitId::parse(*text));
       });
}

}  // namespace hffs
