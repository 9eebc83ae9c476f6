// SPDX-License-Identifier: Apache-2.0
#include "fs_world.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace hffs::test {
namespace {

const std::vector<std::string> kRepos{"acme/one", "acme/two", "beta/three"};
const std::vector<std::string> kRefs{"main", "v1.0", "refs/pr/1"};
const std::vector<std::string> kPaths{"config.json", "model.bin",  "sub/a.txt", "sub/deep/b.txt",
                                      "tokenizer.json", "other/c.bin", "README.md"};

std::string layout_of(const std::string& name) { return RepoId::parse_user(name)->layout(); }

}  // namespace

FsWorld::FsWorld(Trial& trial) : trial_(trial), setup_(trial.dice(3)) {
  for (const std::string& name : kRepos)
    if (setup_.chance(70)) hub_.push(name, "main", next_tree(setup_, {}));
  hub_.names.page_size = setup_.between(1, 6);
  hub_.publish();
  clock_.advance(kMissingTtl + kRefTtl);
  healthy_since_ = clock_.now();
  open();
}

void FsWorld::open() {
  handover_ = memory_.next();
  auto store = Store::open({.state_dir = directory_.path(), .map_size = 16 << 20}, system_disk(), system_clock(), metrics_);
  if (!trial_.check(store.has_value(), "the store does not open")) return;
  store_ = std::move(*store);
  store_->bounds().protect([](const ReadTxn&, const Bounds::Visit&) {});
  transfer_ = TransferEngine::create({.read_deadline = std::chrono::seconds(30)}, hub_.bytes, *store_,
                                     system_clock(), metrics_);
  auto catalog = Catalog::open({.ref_ttl = kRefTtl, .missing_ttl = kMissingTtl}, hub_.bytes, *store_, *access_,
                               clock_, metrics_);
  if (!trial_.check(catalog.has_value(), "the catalog does not open")) return;
  catalog_ = std::move(*catalog);
  prefetcher_ = Prefetcher::create({.policy = PrefetchPolicy::off}, hub_.bytes, *catalog_, *store_, *transfer_,
                                   system_clock(), metrics_);
  auto files = FileSystem::open({}, *catalog_, *store_, *transfer_, *prefetcher_, *handover_, system_disk(), clock_,
                                metrics_);
  if (trial_.check(files.has_value(), "the file system does not open")) files_ = std::move(*files);
}

void FsWorld::close() {
  files_.reset();
  prefetcher_.reset();
  catalog_.reset();
  transfer_.reset();
  store_.reset();
  handover_.reset();
}

void FsWorld::settle() {
  for (int i = 0; i < 3; ++i) {
    hub_.names.change([] {});
    (void)wait_for<void>([&](Done<void> done) { store_->write([](WriteTxn&) {}, std::move(done)); });
  }
}

const std::string& FsWorld::any_repo(Dice& dice) const { return dice.pick(kRepos); }
std::string FsWorld::any_path(Dice& dice) { return dice.pick(kPaths); }

Tree FsWorld::next_tree(Dice& dice, Tree tree) const {
  for (std::uint64_t i = dice.between(1, 4); i > 0; --i) {
    const std::string path = any_path(dice);
    if (dice.chance(30))
      tree.erase(path);
    else
      tree[path] = dice.below(known_texts().size());
  }
  return tree;
}

Result<Entry> FsWorld::lookup(NodeId parent, std::string_view name) {
  return wait_for<Entry>(
      [&](Done<Entry> done) { files_->lookup(kUser, parent, name, {}, std::move(done)); });
}

Result<Entry> FsWorld::walk(const std::string& path) {
  Result<Entry> entry = Entry{.node = kRootNode};
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t slash = std::min(path.find('/', begin), path.size());
    entry = lookup(entry->node, path.substr(begin, slash - begin));
    if (!is_there(entry)) return entry;
    begin = slash + 1;
  }
  return entry;
}

void FsWorld::step(Dice& dice) {
  if (!files_) return;
  switch (dice.weighted({18, 14, 18, 10, 12, 8, 8, 3, 3})) {
    case 0: change_hub(dice); break;
    case 1: look_at_ref(dice); break;
    case 2: look_at_path(dice); break;
    case 3: look_at_listing(dice); break;
    case 4: look_at_revision(dice); break;
    case 5: {
      const auto time = std::chrono::milliseconds(dice.below(dice.chance(50) ? 5'000 : 100'000));
      trial_.note("{} ms pass", time.count());
      clock_.advance(time);
      break;
    }
    case 6:
      hub_.fault_percent = healthy() ? (dice.chance(50) ? 100 : 40) : 0;
      settle();
      healthy_since_ = clock_.now();
      trial_.note("the Hub fails {} times of 100", hub_.fault_percent.load());
      break;
    case 7: {
      trial_.note("everything is evicted");
      std::vector<std::uint64_t> all;
      for (std::uint64_t number = 1; store_->blob(number); ++number) all.push_back(number);
      (void)wait_for<Bounds::Outcome>([&](Done<Bounds::Outcome> done) {
        store_->bounds().evict({.blobs = all, .only_copies = true}, std::move(done));
      });
      break;
    }
    case 8:
      trial_.note("the daemon begins anew");
      close();
      open();
      break;
  }
  if (store_) settle();
}

void FsWorld::change_hub(Dice& dice) {
  const std::string& name = any_repo(dice);
  HubRepo& repo = hub_.repos[name];
  if (repo.commits.empty()) repo.there = true;
  if (dice.chance(12) && !repo.commits.empty()) {
    repo.there = !repo.there;
    repo.since = clock_.now();
    trial_.note("{} {}", name, repo.there ? "is back" : "is gone");
  } else {
    if (repo.commits.empty()) repo.since = clock_.now();
    change_refs(dice, name);
  }
  hub_.publish();
}

void FsWorld::change_refs(Dice& dice, const std::string& name) {
  HubRepo& repo = hub_.repos[name];
  const std::string ref = repo.commits.empty() ? "main" : dice.pick(kRefs);
  const auto has = repo.refs.find(ref);
  if (has != repo.refs.end() && ref != "main" && dice.chance(20)) {
    trial_.note("{} has no {} any more", name, ref);
    return hub_.set_ref(name, ref, "");
  }
  if (!repo.commits.empty() && dice.chance(30)) {
    const std::string commit = dice.pick(repo.commits).first;
    trial_.note("{} of {} is forced to {}", ref, name, commit);
    return hub_.set_ref(name, ref, commit);
  }
  const Tree before = has == repo.refs.end() ? Tree{} : repo.commits.at(has->second);
  const std::string commit = hub_.push(name, ref, next_tree(dice, before));
  trial_.note("{} of {} is {}, with {} files", ref, name, commit, repo.commits.at(commit).size());
}

bool FsWorld::must_be_known(const HubRepo& repo, Instant since) const {
  // What was not there when somebody looked is believed not to be for a while.
  const auto old = [&](Instant time) { return clock_.now() - time > kMissingTtl + std::chrono::seconds(1); };
  return healthy() && repo.there && old(repo.since) && old(since);
}

// R3, R4: what a ref reads it was, and not too long ago.
void FsWorld::look_at_ref(Dice& dice) {
  const std::string& name = any_repo(dice);
  const std::string& ref = dice.pick(kRefs);
  const HubRepo& repo = hub_.repos[name];
  const auto past = repo.history.find(ref);
  const std::string path = layout_of(name) + "/refs/" + ref;
  std::string read;
  bool there = false;
  for (int i = 0; i < 2; ++i) {  // an old one is served once, and refreshed behind
    const auto entry = walk(path);
    there = is_there(entry);
    read.clear();
    if (there) {
      const auto bytes = wait_for<std::vector<std::byte>>([&](auto done) {
        files_->read(kUser, entry->node, {0, 100}, {}, std::move(done));
      });
      if (trial_.check(bytes.has_value(), "{} is there, and cannot be read: {}", path, bytes ? "" : bytes.error().message))
        read.assign(reinterpret_cast<const char*>(bytes->data()), bytes->size());
    }
    settle();
  }
  trial_.note("{} is {}", path, there ? read : "not there");
  if (!there) {
    const bool constant = past != repo.history.end() && !past->second.empty() && !past->second.back().second.empty();
    trial_.check(!constant || !must_be_known(repo, past->second.back().first),
                 "invariant 7: {} is not there, and the Hub has had it for long", path);
    return;
  }
  if (!trial_.check(past != repo.history.end(), "{} is there, and never was on the Hub", path)) return;
  const auto& values = past->second;
  const bool was = std::ranges::any_of(values, [&](const auto& value) { return value.second == read; });
  if (!trial_.check(was, "{} reads {}, which it never was", path, read) || !healthy() || !repo.there) return;
  // Since then it may have been no other.
  const Instant begin = clock_.now() - kRefTtl - std::chrono::seconds(1);
  bool recent = false;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i].second == read && (i + 1 == values.size() || values[i + 1].first >= begin)) recent = true;
  // A ref that is gone is believed not to be only when somebody asks for it again.
  const bool gone = values.back().second.empty();
  // Who could not be asked is asked again after a pause.
  const auto paused = [&](Instant since) { return clock_.now() - since <= kRefreshPause; };
  trial_.check(recent || gone || paused(healthy_since_) || paused(repo.since), "R3: {} reads {}, which it has not been for {} s", path,
               read, kRefTtl.count());
}

void FsWorld::check_file(const std::string& repo, const std::string& commit, const std::string& path, NodeId link,
                         std::size_t text) {
  const std::string& right = known_texts()[text];
  const auto target = files_->read_link(kUser, link);
  if (!trial_.check(target.has_value(), "{} of {} cannot be followed", path, commit)) return;
  const std::string hex = target->substr(target->rfind('/') + 1);
  if (!trial_.check(hex == id_of_text(text).hex(), "{} of {} is another content than the commit has", path, commit)) return;
  Result<std::vector<std::byte>> bytes = fail(Code::stale, "");
  for (int i = 0; i < 4 && !bytes && bytes.error().code == Code::stale; ++i) {  // as the kernel does
    const auto blob = walk(layout_of(repo) + "/blobs/" + hex);
    if (!trial_.check(is_there(blob), "the blob of {} in {} is not there: {}", path, commit, blob ? "" : blob.error().message)) return;
    trial_.check(blob->attr.size == right.size(), "{} of {} has {} bytes, not {}", path, commit, blob->attr.size, right.size());
    const auto opened = files_->open_file(kUser, blob->node, O_RDONLY);
    if (!opened) {
      bytes = fail(Error(opened.error()));
      continue;
    }
    bytes = wait_for<std::vector<std::byte>>([&](auto done) {
      files_->read(kUser, blob->node, {0, right.size() + 10}, {}, std::move(done));
    });
    files_->release(blob->node, opened->handle, O_RDONLY);
  }
  if (!trial_.check(bytes.has_value(), "{} of {} cannot be read: {}", path, commit, bytes ? "" : bytes.error().message)) return;
  trial_.check(bytes->size() == right.size() && std::memcmp(bytes->data(), right.data(), right.size()) == 0,
               "invariant 11: wrong bytes in {} of {}", path, commit);
}

// S1, S6: a commit is its tree, neither more nor less, whatever the refs do.
void FsWorld::look_at_path(Dice& dice) {
  const std::string& name = any_repo(dice);
  const HubRepo& repo = hub_.repos[name];
  if (repo.commits.empty()) return;
  const auto& [commit, tree] = dice.pick(repo.commits);
  const std::string path = any_path(dice);
  const auto entry = walk(layout_of(name) + "/snapshots/" + commit + "/" + path);
  const auto has = tree.find(path);
  trial_.note("{} of {} in {}: {}", path, commit, name,
              is_there(entry) ? "there" : entry ? "absent" : info(entry.error().code).name);
  if (is_there(entry)) {
    if (trial_.check(has != tree.end(), "S1: {} is there, and {} of {} has none", path, commit, name))
      check_file(name, commit, path, entry->node, has->second);
    return;
  }
  if (has == tree.end()) return;
  trial_.check(!must_be_known(repo, repo.made.at(commit)), "invariant 7: {} of {} in {} is not there, and the Hub has it",
               path, commit, name);
  if (!entry)
    trial_.check(entry.error().code == Code::not_found, "F1: looking up {} says {}", path, info(entry.error().code).name);
  const auto snapshot = walk(layout_of(name) + "/snapshots/" + commit);
  if (is_there(snapshot)) trial_.check(!entry || entry->entry_ttl.count() == 0,
                "invariant 7: {} of {} is said to be absent, and that may be remembered", path, commit);
}

void FsWorld::look_at_listing(Dice& dice) {
  const std::string& name = any_repo(dice);
  const HubRepo& repo = hub_.repos[name];
  if (repo.commits.empty()) return;
  const auto& [commit, tree] = dice.pick(repo.commits);
  const auto snapshot = walk(layout_of(name) + "/snapshots/" + commit);
  if (!is_there(snapshot)) {
    trial_.check(!must_be_known(repo, repo.made.at(commit)), "invariant 7: {} of {} is not there, and the Hub has it", commit, name);
    return;
  }
  std::set<std::string> right, found;
  for (const auto& [path, text] : tree) right.insert(path.substr(0, path.find('/')));
  std::uint64_t cookie = 0;
  while (true) {
    const auto items = wait_for<std::vector<DirItem>>([&](auto done) {
      files_->list(kUser, snapshot->node, cookie, 1 + dice.below(4), {}, std::move(done));
    });
    if (!items) {
      trial_.note("listing {} of {}: {}", commit, name, info(items.error().code).name);
      trial_.check(!must_be_known(repo, repo.made.at(commit)), "listing {} of {} fails: {}", commit, name, items.error().message);
      trial_.check(items.error().code != Code::not_found || !repo.there, "F1: a listing that failed says that there is none");
      return;
    }
    if (items->empty()) break;
    for (const auto& item : *items)
      trial_.check(found.insert(item.name).second, "{} is listed twice in {}", item.name, commit);
    cookie = items->back().cookie;
  }
  trial_.note("listing {} of {}: {} names", commit, name, found.size());
  trial_.check(found == right, "S1: {} of {} lists {}, and has {}", commit, name, fmt::join(found, " "), fmt::join(right, " "));
}

// S5: all that is read below one revision is of one commit that the ref was.
void FsWorld::look_at_revision(Dice& dice) {
  const std::string& name = any_repo(dice);
  const HubRepo& repo = hub_.repos[name];
  const std::string ref = dice.chance(70) ? "main" : "v1.0";
  const auto link = walk(layout_of(name) + "/snapshots/" + ref);
  const auto past = repo.history.find(ref);
  if (!is_there(link)) {
    const bool has = past != repo.history.end() && !past->second.back().second.empty();
    trial_.check(!has || !must_be_known(repo, past->second.back().first), "invariant 7: snapshots/{} of {} is not there, and the Hub has it", ref, name);
    return;
  }
  const auto target = files_->read_link(kUser, link->node);
  if (!trial_.check(target.has_value(), "snapshots/{} of {} cannot be followed", ref, name)) return;
  trial_.note("{} of {} leads to {}", ref, name, *target);
  if (!trial_.check(past != repo.history.end() && repo.commits.contains(*target) &&
                        std::ranges::any_of(past->second, [&](const auto& value) { return value.second == *target; }),
                    "S5: {} of {} leads to {}, which it never was", ref, name, *target))
    return;
  const Tree& tree = repo.commits.at(*target);
  for (const std::string& path : kPaths) {
    if (dice.chance(60)) continue;
    if (dice.chance(20)) change_hub(dice);  // in the midst of it
    const auto entry = walk(layout_of(name) + "/snapshots/" + *target + "/" + path);
    if (!is_there(entry)) {
      trial_.check(!tree.contains(path) || !must_be_known(repo, repo.made.at(*target)), "invariant 7: {} of {} is not there", path, *target);
      continue;
    }
    if (trial_.check(tree.contains(path), "S1: {} is there, and {} has none", path, *target))
      check_file(name, *target, path, entry->node, tree.at(path));
  }
}

}  // namespace hffs::test
