// SPDX-License-Identifier: Apache-2.0
#include "hffs/filesystem.h"

#include <cerrno>

#include "filesystem_impl.h"
#include "hffs/recorder.h"
#include "on_behalf.h"
#include "parked.h"

namespace hffs {
namespace fs {
namespace {

// Marks the cookies of overlay items, which come behind all published ones.
constexpr std::uint64_t kOverlayCookie = std::uint64_t{1} << 62;

// As for all that cannot be asked: clients probe, and an error would end them.
Error as_absence(Error refusal) {
  refusal.code = Code::not_found;
  return refusal;
}
Error as_it_is(Error refusal) {
  return refusal;
}

// Where the caller's own may stand instead. Who cannot be asked is absent to the catalog.
bool is_absent(const Result<Entry>& entry) {
  if (entry) return entry->node.value == 0;
  return entry.error().code == Code::not_found || entry.error().code == Code::denied;
}

}  // namespace

FileSystemImpl::FileSystemImpl(FileSystemOptions options, std::shared_ptr<Overlay> overlay,
                               std::string directory, Catalog& catalog, Store& store,
                               TransferEngine& transfer, Prefetcher& prefetcher,
                               Metrics& metrics)
    : options_(options),
      overlay_(std::move(overlay)),
      absences_(std::make_shared<Absences>()),
      directory_(std::move(directory)),
      catalog_(catalog),
      store_(store),
      blobs_(options_, catalog, store, transfer, prefetcher, metrics) {}

FileSystemImpl::~FileSystemImpl() {
  (void)overlay_->flush();
}

void FileSystemImpl::Absences::remember(NodeId node, NodeId directory, std::string_view name) {
  constexpr std::size_t kMost = 100'000;
  auto held = names.lock();
  if (held->size() >= kMost) held->clear();
  (*held)[node.value] = {directory, std::string(name)};
}

void FileSystemImpl::ask_catalog(const Caller& caller, NodeId parent, std::string_view name,
                                 bool then_overlay, Done<Entry> done) {
  on_behalf<Entry>(
      caller,
      [&catalog = catalog_, caller, parent, name = std::string(name)](Done<Entry> answer) {
        catalog.lookup(caller, parent, name, std::move(answer));
      },
      as_absence,
      [overlay = overlay_, absences = absences_, caller, parent, name = std::string(name),
       then_overlay, done = std::move(done)](Result<Entry> entry) mutable {
        if (then_overlay && is_absent(entry))
          if (auto own = overlay->lookup(caller.uid, parent, name)) entry = *own;
        if (entry && entry->node.kind() == NodeKind::absent_file)
          absences->remember(entry->node, parent, name);
        done(std::move(entry));
      });
}

// While somebody records every walk through a repository must come here, whoever made the last one.
Done<Entry> FileSystemImpl::recorded(const Caller& caller, NodeId parent, std::string_view name,
                                     Done<Entry> done) {
  return [recorder = options_.recorder, recording = options_.recorder->find(caller.pid), parent,
          name = std::string(name), done = std::move(done)](Result<Entry> entry) mutable {
    const NodeKind kind = entry ? entry->node.kind() : NodeKind::fixed;
    if (kind == NodeKind::repo) entry->entry_ttl = Ttl{0};
    const bool tells =
        kind == NodeKind::repo || kind == NodeKind::revision || kind == NodeKind::frozen_ref;
    if (tells && recording != 0) recorder->looked_up(recording, parent, name, entry->node);
    done(std::move(entry));
  };
}

void FileSystemImpl::lookup(const Caller& caller, NodeId parent, std::string_view name,
                            std::stop_token stop, Done<Entry> done) {
  if (options_.recorder != nullptr && options_.recorder->active())
    done = recorded(caller, parent, name, std::move(done));
  if (parent == kRootNode && options_.entered)
    if (const auto repo = RepoId::parse_layout(name)) options_.entered(caller, *repo);
  if (parent.kind() == NodeKind::overlay)
    return lookup_below_overlay(caller, parent, name, Parked<Entry>::wrap(stop, std::move(done)));
  const Sight sight = sight_of(parent, name);
  std::optional<Entry> own;
  if (sight != Sight::published) own = overlay_->lookup(caller.uid, parent, name);
  switch (sight) {
    case Sight::overlay:
      return own ? done(*own) : done(no_such(name));
    case Sight::overlay_first:
      if (own) return done(*own);
      break;
    case Sight::published:
    case Sight::published_first:
      break;
  }
  ask_catalog(caller, parent, name, sight != Sight::published,
              Parked<Entry>::wrap(stop, std::move(done)));
}

// Below refs the Hub may have, by now, what a client made a directory for.
void FileSystemImpl::lookup_below_overlay(const Caller& caller, NodeId parent,
                                          std::string_view name, Done<Entry> done) {
  const auto territory = overlay_->territory(caller.uid, parent);
  if (!territory) return done(fail(Error(territory.error())));
  if (auto own = overlay_->lookup(caller.uid, parent, name)) return done(*own);
  if (*territory != Territory::refs || is_side_name(name)) return done(no_such(name));
  const auto place = overlay_->place_of(parent);
  ask_catalog(caller, place.published, place.path + std::string(name), false, std::move(done));
}

Result<Entry> FileSystemImpl::get_attributes(const Caller&, NodeId node) {
  if (node.kind() == NodeKind::overlay) return overlay_->attributes(node);
  auto entry = catalog_.attributes(node);
  // Asked for at each stat, so that a dead mount point shows that it is dead.
  if (entry && node == kRootNode) entry->attr_ttl = Ttl{0};
  return entry;
}

// A mark of the caller's own in the place of a synthesised one; the kernel walks there again.
Error FileSystemImpl::own_mark(const Caller& caller, NodeId absent) {
  AbsentName place;
  {
    auto names = absences_->names.lock();
    const auto found = names->find(absent.value);
    if (found != names->end()) place = found->second;
  }
  if (place.directory.value != 0) {
    auto made = make(caller, place.directory, place.name, FileKind::regular, 0644, {});
    if (!made && made.error().code != Code::exists) return std::move(made.error());
  }
  return {Code::stale, "the caller has a mark of its own", {}};
}

Result<Entry> FileSystemImpl::set_attributes(const Caller& caller, NodeId node,
                                             const SetAttr& change) {
  switch (node.kind()) {
    case NodeKind::overlay:
      return overlay_->change(caller.uid, node, change);
    case NodeKind::absent_file:
      return fail(own_mark(caller, node));
    case NodeKind::absent_dir:
      return catalog_.attributes(node);
    case NodeKind::ref:
    case NodeKind::frozen_ref: {
      auto entry = catalog_.attributes(node);
      if (!entry || entry->attr.kind == FileKind::directory || change.mode || change.owner ||
          change.group)
        break;
      if (change.size) refresh_ref(node, {});
      return entry;
    }
    default:
      break;
  }
  if (!change.mode && !change.owner && !change.group && !change.size && !change.modified)
    return catalog_.attributes(node);
  return fail(Code::refused, "what the Hub publishes cannot be changed");
}

Result<std::string> FileSystemImpl::read_link(const Caller&, NodeId node) {
  if (node.kind() == NodeKind::overlay) return overlay_->read_link(node);
  return catalog_.read_link(node);
}

std::vector<DirItem> FileSystemImpl::list_overlay(const Caller& caller, NodeId directory,
                                                  std::uint64_t cookie, std::size_t most) {
  auto items = overlay_->list(caller.uid, directory, cookie & ~kOverlayCookie, most);
  for (DirItem& item : items) item.cookie |= kOverlayCookie;
  return items;
}

void FileSystemImpl::list(const Caller& caller, NodeId directory, std::uint64_t cookie,
                          std::size_t most, std::stop_token stop,
                          Done<std::vector<DirItem>> done) {
  if (directory.kind() == NodeKind::overlay) {
    if (auto own = overlay_->territory(caller.uid, directory); !own) {
      // An open directory that was removed is empty.
      if (own.error().code == Code::not_found) return done(std::vector<DirItem>{});
      return done(fail(own));
    }
    return done(list_overlay(caller, directory, cookie, most));
  }
  const bool mixed = may_hold_overlay(directory);
  if (mixed && (cookie & kOverlayCookie) != 0)
    return done(list_overlay(caller, directory, cookie, most));
  auto parked = Parked<std::vector<DirItem>>::wrap(std::move(stop), std::move(done));
  auto ask = [&catalog = catalog_, caller, directory, cookie,
              most](Done<std::vector<DirItem>> answer) {
    catalog.list(caller, directory, cookie, most, std::move(answer));
  };
  if (!mixed) return on_behalf<std::vector<DirItem>>(caller, std::move(ask), as_it_is, std::move(parked));
  auto merge = [overlay = overlay_, user = caller.uid, directory, most,
                done = std::move(parked)](Result<std::vector<DirItem>> items) mutable {
    if (!items) return done(std::move(items));
    const bool full = items->size() >= most;
    // A name that is both is listed once, as the caller's own. An empty page would be the end.
    const auto last = items->empty() ? DirItem{} : items->back();
    std::erase_if(*items, [&](const DirItem& item) {
      return overlay->lookup(user, directory, item.name).has_value();
    });
    if (full && items->empty()) items->push_back(last);
    if (full) return done(std::move(items));
    for (DirItem& item : overlay->list(user, directory, 0, most - items->size())) {
      item.cookie |= kOverlayCookie;
      items->push_back(std::move(item));
    }
    done(std::move(items));
  };
  on_behalf<std::vector<DirItem>>(caller, std::move(ask), as_it_is, std::move(merge));
}

struct statvfs FileSystemImpl::space() {
  struct statvfs space{};
  if (::statvfs(directory_.c_str(), &space) != 0)
    log(Level::warn, "fs", "{}", system_error(errno, "asking for the free space").message);
  space.f_namemax = 255;
  return space;
}

}  // namespace fs

Result<std::unique_ptr<FileSystem>> FileSystem::open(FileSystemOptions options, Catalog& catalog,
                                                     Store& store, TransferEngine& transfer,
                                                     Prefetcher& prefetcher, Handover& handover,
                                                     Disk& disk, const Clock& clock,
                                                     Metrics& metrics) {
  auto directory = store.directory("overlay");
  if (!directory) return fail(directory);
  auto overlay =
      fs::Overlay::open(store, disk, clock, metrics, handover,
                        {.user = {options.overlay_bytes_per_user, options.overlay_files_per_user},
                         .all = {options.overlay_bytes, options.overlay_files},
                         .own = options.own,
                         .owner_of = options.owner_of});
  if (!overlay) return fail(overlay);
  return std::make_unique<fs::FileSystemImpl>(options, std::move(*overlay), std::move(*directory),
                                              catalog, store, transfer, prefetcher, metrics);
}

}  // namespace hffs
