// SPDX-License-Identifier: Apache-2.0
#include "hffs/adopt.h"

#include <algorithm>
#include <map>
#include <set>

#include "hffs/ids.h"
#include "journal.h"
#include "open_files.h"
#include "user_view.h"

namespace hffs {
namespace adopt {
namespace {

// Beside the folder, and as deep: where blobs of a cache are links themselves they still lead there.
std::string aside_of(const std::string& name) {
  return ".hffs-original." + name;
}

// Which blobs were met in a folder before.
class Duplicates {
 public:
  void count(const std::vector<Item>& items, AdoptFolder& into) {
    for (const Item& blob : blobs_of(items)) {
      into.bytes += blob.size;
      if (!met_.emplace(blob.path.substr(blob.path.rfind('/') + 1), blob.size).second)
        into.duplicate += blob.size;
    }
  }

 private:
  std::set<std::pair<std::string, std::uint64_t>> met_;
};

bool is_below(const Record& record, const std::vector<std::string>& below) {
  return below.empty() || std::ranges::any_of(below, [&](const std::string& directory) {
           const std::string path = record.path();
           return path == directory || path.starts_with(directory + '/');
         });
}

class AdoptionImpl final : public Adoption {
 public:
  explicit AdoptionImpl(Journal journal) : journal_(std::move(journal)) {}

  // What was begun is taken to its end, but a removal, which is finish()'s. What cannot be is in each
  // report, and is tried again next time.
  void recover();
  AdoptReport survey(const std::vector<UserCache>& caches) override;
  Result<AdoptReport> adopt(const std::vector<UserCache>& caches, const AdoptMount& mount,
                            bool self_attested, const Tell& tell) override;
  Result<AdoptReport> undo(const std::vector<std::string>& below, const Tell& tell) override;
  Result<AdoptReport> finish(const std::vector<std::string>& below, const AdoptMount& mount,
                             const Tell& tell) override;

 private:
  Result<void> adopt_one(CacheDirectory& cache, const std::string& name, const AdoptMount& mount,
                         bool self_attested, AdoptFolder& into);
  Result<void> exchange(CacheDirectory& cache, const RepoFolder& folder, Record record,
                        const std::vector<Item>& items);
  Result<void> put_back(CacheDirectory& cache, Record record);
  Result<void> undo_one(Record record);
  Result<void> finish_one(Record record, const AdoptMount& mount);
  Result<void> write(Record record, Step step) {
    record.step = step;
    return journal_.write(record);
  }
  // Of those that are at one of the steps.
  template <class Work>
  Result<AdoptReport> for_each(std::initializer_list<Step> steps, const std::vector<std::string>& below,
                               const Tell& tell, Work work);

  Journal journal_;
  std::vector<AdoptFolder> stuck_;
};

bool is_link(const CacheDirectory& cache, const std::string& name, const std::string& target) {
  const Standing found = cache.look(name);
  return found.what == Stands::link && found.target == target;
}

bool is_original(const CacheDirectory& cache, const std::string& name, const Record& record) {
  const Standing found = cache.look(name);
  // The number of its file system may be another one after a restart; it is the cache's still.
  return found.what == Stands::directory && found.device == cache.status().st_dev &&
         found.inode == record.inode;
}

void AdoptionImpl::recover() {
  for (const auto& [path, record] : std::map(journal_.records())) {
    if (record.step != Step::adopting && record.step != Step::undoing) continue;
    auto cache = CacheDirectory::open(record.cache, record.user);
    // A home that is not mounted now: another time.
    if (!cache && cache.error().code == Code::not_found) continue;
    Result<void> done;
    if (!cache) {
      done = fail(cache);
    } else if (record.step == Step::adopting && is_link(*cache, record.name, record.target) &&
               is_original(*cache, aside_of(record.name), record)) {
      // All was checked before the two were exchanged, but whether it was opened in that moment; the
      // files of who has are those of the original, which stays.
      done = write(record, Step::adopted);
    } else {
      done = put_back(*cache, record);
    }
    if (!done)
      stuck_.push_back({.path = path,
                        .user = record.user,
                        .bytes = record.bytes,
                        .note = std::move(done.error()).during("going on with it").message});
  }
}

AdoptReport AdoptionImpl::survey(const std::vector<UserCache>& caches) {
  AdoptReport report{.folders = stuck_};
  const auto is_stuck = [&](const std::string& path) {
    return std::ranges::find(stuck_, path, &AdoptFolder::path) != stuck_.end();
  };
  Duplicates duplicates;
  for (const UserCache& each : caches) {
    auto cache = CacheDirectory::open(each.path, each.user);
    if (!cache) continue;
    for (const std::string& name : cache->repositories()) {
      if (cache->look(name).what != Stands::directory || is_stuck(each.path + '/' + name)) continue;
      AdoptFolder& found =
          report.folders.emplace_back(AdoptFolder{.path = each.path + '/' + name, .user = each.user});
      const auto folder = RepoFolder::open(*cache, name);
      const auto items = folder ? folder->items() : fail(Error(folder.error()));
      if (!items) {
        found.note = items.error().message;
        continue;
      }
      duplicates.count(*items, found);
      found.note = problem_of(*folder, *items);
      if (const auto user = find_user_of(*folder, *items); user && found.note.empty())
        found.note = *user + " uses it";
    }
  }
  return report;
}

Result<AdoptReport> AdoptionImpl::adopt(const std::vector<UserCache>& caches,
                                        const AdoptMount& mount, bool self_attested,
                                        const Tell& tell) {
  AdoptReport report = survey(caches);
  for (std::size_t i = stuck_.size(); i < report.folders.size(); ++i) {
    AdoptFolder& folder = report.folders[i];
    const std::size_t slash = folder.path.rfind('/');
    folder.note.clear();
    auto cache = CacheDirectory::open(folder.path.substr(0, slash), folder.user);
    Result<void> done = cache ? adopt_one(*cache, folder.path.substr(slash + 1), mount, self_attested,
                                          folder)
                              : fail(cache);
    folder.done = done.has_value();
    if (!done) {
      // Without these nothing else can be done either.
      const Code code = done.error().code;
      if (code == Code::no_space || code == Code::unreachable || code == Code::bug) return fail(done);
      folder.note = std::move(done.error().message);
    }
    tell(folder);
  }
  return report;
}

Result<void> AdoptionImpl::adopt_one(CacheDirectory& cache, const std::string& name,
                                     const AdoptMount& mount, bool self_attested,
                                     AdoptFolder& into) {
  auto folder = RepoFolder::open(cache, name);
  if (!folder) return fail(folder);
  if (!is_utf8(folder->path())) return fail(Code::unsupported, "its path is not UTF-8");
  auto items = folder->items();
  if (!items) return fail(items);
  if (std::string problem = problem_of(*folder, *items); !problem.empty())
    return fail(Code::refused, "{}", problem);
  if (const auto user = find_user_of(*folder, *items)) return fail(Code::busy, "{} uses it", *user);
  auto files = folder->files(*items);
  if (!files) return fail(files);
  auto imported = mount.import(folder->path(), folder->status().st_dev, folder->status().st_ino,
                               !self_attested);
  if (!imported) return fail(imported);
  if (!imported->problem.empty()) return fail(Code::refused, "{}", imported->problem);
  into.note = imported->remark;
  const std::string target = mount.mount_point + '/' + name;
  if (auto seen = check_view(into.user, target, *files); !seen) return seen;
  const auto now = folder->items();
  if (!now || *now != *items) return fail(Code::busy, "it was changed while it was imported");
  return exchange(cache, *folder,
                  {.cache = cache.path(),
                   .name = name,
                   .target = target,
                   .user = into.user,
                   .inode = folder->status().st_ino,
                   .bytes = into.bytes},
                  *items);
}

Result<void> AdoptionImpl::exchange(CacheDirectory& cache, const RepoFolder& folder, Record record,
                                    const std::vector<Item>& items) {
  const std::string aside = aside_of(record.name);
  if (cache.look(aside).what != Stands::nothing)
    return fail(Code::exists, "{}/{} is in the way: put it back, or remove it", cache.path(), aside);
  if (auto written = write(record, Step::adopting); !written) return written;
  Result<void> done = cache.make_link(aside, record.target);
  if (done) done = cache.exchange(aside, record.name);
  // What was exchanged is what was looked at, and nobody has come meanwhile.
  if (done && !is_original(cache, aside, record))
    done = fail(Code::busy, "it was replaced while it was imported");
  if (done)
    if (const auto now = folder.items(); !now || *now != items)
      done = fail(Code::busy, "it was changed while it was imported");
  if (done)
    if (const auto user = find_user_of(folder, items)) done = fail(Code::busy, "{} uses it", *user);
  if (done) return write(record, Step::adopted);
  if (auto back = put_back(cache, record); !back) return back;
  return done;
}

// From whatever state to that before: the folder under its name, and no link.
Result<void> AdoptionImpl::put_back(CacheDirectory& cache, Record record) {
  const std::string aside = aside_of(record.name);
  const Stands beside = cache.look(aside).what;
  Result<void> done;
  if (is_link(cache, record.name, record.target) && beside == Stands::directory)
    done = cache.exchange(aside, record.name);
  else if (cache.look(record.name).what == Stands::nothing && beside == Stands::directory)
    done = cache.move(aside, record.name);
  if (done && is_link(cache, aside, record.target)) done = cache.remove_link(aside);
  if (!done) return done;
  if (cache.look(aside).what == Stands::directory)
    return fail(Code::exists, "something else stands at {}; its original is {}/{}", record.path(),
                cache.path(), aside);
  return write(record, Step::undone);
}

Result<void> AdoptionImpl::undo_one(Record record) {
  auto cache = CacheDirectory::open(record.cache, record.user);
  if (!cache) return fail(cache);
  if (!is_original(*cache, aside_of(record.name), record))
    return fail(Code::not_found, "{}/{} is not its original, or is gone", record.cache,
                aside_of(record.name));
  if (!is_link(*cache, record.name, record.target) && cache->look(record.name).what != Stands::nothing)
    return fail(Code::exists, "something else stands in its place; its original is {}/{}", record.cache,
                aside_of(record.name));
  if (auto written = write(record, Step::undoing); !written) return written;
  return put_back(*cache, record);
}

// All is checked before the removal begins; one that was begun is only ended.
Result<void> AdoptionImpl::finish_one(Record record, const AdoptMount& mount) {
  const std::string aside = aside_of(record.name);
  auto cache = CacheDirectory::open(record.cache, record.user);
  if (!cache) return fail(cache);
  if (record.step == Step::adopted) {
    if (!is_link(*cache, record.name, record.target))
      return fail(Code::refused, "its link was replaced: the original stays");
    if (!is_original(*cache, aside, record))
      return fail(Code::refused, "{}/{} is not its original", record.cache, aside);
    auto folder = RepoFolder::open(*cache, aside);
    if (!folder) return fail(folder);
    auto items = folder->items();
    if (!items) return fail(items);
    if (std::string problem = problem_of(*folder, *items); !problem.empty())
      return fail(Code::refused, "{}", problem);
    if (const auto user = find_user_of(*folder, *items)) return fail(Code::busy, "{} uses it", *user);
    auto files = folder->files(*items);
    if (!files) return fail(files);
    std::map<std::string, std::vector<std::string>> paths;
    for (const auto& file : *files) paths[file.commit].push_back(file.path);
    for (const auto& [commit, its] : paths)
      if (auto whole = mount.check_whole(record.name, commit, its); !whole) return whole;
    if (auto seen = check_view(record.user, record.target, *files); !seen) return seen;
    if (auto written = write(record, Step::finishing); !written) return written;
  }
  if (auto removed = cache->remove_tree(aside, record.inode); !removed) return removed;
  return write(record, Step::finished);
}

template <class Work>
Result<AdoptReport> AdoptionImpl::for_each(std::initializer_list<Step> steps,
                                           const std::vector<std::string>& below, const Tell& tell,
                                           Work work) {
  AdoptReport report{.folders = stuck_};
  for (const auto& [path, record] : std::map(journal_.records())) {
    if (std::ranges::find(steps, record.step) == steps.end() || !is_below(record, below)) continue;
    AdoptFolder& folder = report.folders.emplace_back(
        AdoptFolder{.path = path, .user = record.user, .bytes = record.bytes});
    auto done = work(record);
    folder.done = done.has_value();
    if (!done) folder.note = std::move(done.error().message);
    tell(folder);
  }
  return report;
}

Result<AdoptReport> AdoptionImpl::undo(const std::vector<std::string>& below, const Tell& tell) {
  return for_each({Step::adopted}, below, tell,
                  [this](const Record& record) { return undo_one(record); });
}

Result<AdoptReport> AdoptionImpl::finish(const std::vector<std::string>& below,
                                         const AdoptMount& mount, const Tell& tell) {
  return for_each({Step::adopted, Step::finishing}, below, tell,
                  [this, &mount](const Record& record) { return finish_one(record, mount); });
}

}  // namespace
}  // namespace adopt

Result<std::unique_ptr<Adoption>> Adoption::open(const std::string& path) {
  auto journal = adopt::Journal::open(path);
  if (!journal) return fail(journal);
  auto adoption = std::make_unique<adopt::AdoptionImpl>(std::move(*journal));
  adoption->recover();
  return adoption;
}

}  // namespace hffs
