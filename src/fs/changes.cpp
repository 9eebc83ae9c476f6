// SPDX-License-Identifier: Apache-2.0
//
// Making, removing and moving. Everything goes to the caller's own overlay, except what is absorbed
// (refs) and what becomes a blob.
#include <linux/fs.h>

#include "filesystem_impl.h"
#include "parked.h"

namespace hffs::fs {
namespace {

std::unexpected<Error> refused(std::string_view name) {
  return fail(Code::refused, "{}: not possible here", name);
}

Making making_of(FileKind kind) {
  switch (kind) {
    case FileKind::directory:
      return Making::directory;
    case FileKind::symlink:
      return Making::link;
    default:
      return Making::file;
  }
}

}  // namespace

// `directory` is a ref itself where `name` is empty.
void FileSystemImpl::refresh_ref(NodeId directory, std::string_view name) {
  const auto place = overlay_->place_of(directory);
  if (place.published.kind() == NodeKind::ref || place.published.kind() == NodeKind::refs_root)
    catalog_.refresh_ref(place.published, place.path + std::string(name));
}

Result<Entry> FileSystemImpl::make(const Caller& caller, NodeId parent, std::string_view name,
                                   FileKind kind, std::uint32_t mode, std::string_view target) {
  auto territory = overlay_->territory(caller.uid, parent);
  if (!territory) return fail(territory);
  const Rule rule = parent.kind() == NodeKind::overlay
                        ? may_make(*territory, name, making_of(kind))
                        : may_make(parent, name, making_of(kind));
  if (rule == Rule::absorbed) return overlay_->make_absorbing(caller, parent, name);
  if (rule != Rule::own) return refused(name);
  return overlay_->make(caller, {.directory = parent,
                                 .name = name,
                                 .kind = kind,
                                 .territory = *territory,
                                 .mode = mode,
                                 .target = target});
}

Result<Entry> FileSystemImpl::make_directory(const Caller& caller, NodeId parent,
                                             std::string_view name, std::uint32_t mode) {
  return make(caller, parent, name, FileKind::directory, mode, {});
}

Result<Entry> FileSystemImpl::make_file(const Caller& caller, NodeId parent, std::string_view name,
                                        std::uint32_t mode) {
  return make(caller, parent, name, FileKind::regular, mode, {});
}

Result<Entry> FileSystemImpl::make_link(const Caller& caller, NodeId parent, std::string_view name,
                                        std::string_view target) {
  return make(caller, parent, name, FileKind::symlink, 0777, target);
}

Result<void> FileSystemImpl::remove(const Caller& caller, NodeId parent, std::string_view name,
                                    bool directory) {
  auto removed = overlay_->remove(caller, parent, name, directory);
  // The kernel saw the name: then it is published.
  if (!removed && removed.error().code == Code::not_found && parent.kind() != NodeKind::overlay)
    return refused(name);
  return removed;
}

void FileSystemImpl::rename(const Caller& caller, NodeId from, std::string_view name, NodeId to,
                            std::string_view new_name, unsigned flags, Done<void> done,
                            std::stop_token stop) {
  if ((flags & ~static_cast<unsigned>(RENAME_NOREPLACE)) != 0)
    return done(fail(Code::invalid, "not possible in the overlay"));
  if (overlay_->was_done(caller)) {
    refresh_ref(to, new_name);
    return done({});
  }
  const bool replace = (flags & RENAME_NOREPLACE) == 0;
  const auto own = overlay_->lookup(caller.uid, from, name);
  if (!own) return done(refused(name));
  const auto here = overlay_->territory(caller.uid, from);
  const auto there = overlay_->territory(caller.uid, to);
  if (!here) return done(fail(Error(here.error())));
  if (!there) return done(fail(Error(there.error())));
  const Making what = making_of(own->attr.kind);
  const Rule rule = to.kind() == NodeKind::overlay ? may_make(*there, new_name, what)
                                                   : may_move_to(to, new_name, what);
  switch (rule) {
    case Rule::refused:
      return done(refused(new_name));
    case Rule::blob:
      return rename_to_blob(caller, from, name, to, new_name, replace, std::move(done),
                            std::move(stop));
    case Rule::absorbed: {
      auto removed = overlay_->remove(caller, from, name, false);
      if (removed) refresh_ref(to, new_name);
      return done(std::move(removed));
    }
    case Rule::own:
      break;
  }
  // A directory's content follows the rules of where it was made.
  if (what == Making::directory && *here != *there) return done(refused(new_name));
  done(overlay_->move(caller, {.from = from,
                               .name = name,
                               .to = to,
                               .new_name = new_name,
                               .replace = replace}));
}

void FileSystemImpl::rename_to_blob(const Caller& caller, NodeId from, std::string_view name,
                                    NodeId to, std::string_view new_name, bool replace,
                                    Done<void> done, std::stop_token stop) {
  auto known = [overlay = overlay_, &store = store_, caller, from,
                name = std::string(name), blob_name = std::string(new_name), replace,
                done = std::move(done)](Result<Entry> entry) mutable {
    if (!entry) {
      if (entry.error().code == Code::not_found) return done(refused(blob_name));
      return done(fail(entry));
    }
    if (entry->node.kind() != NodeKind::blob) return done(refused(blob_name));
    if (!replace) return done(fail(Code::exists, "{} exists", blob_name));
    auto content = overlay->begin_import(caller.uid, from, name);
    if (!content) return done(fail(content));
    auto settled = [overlay, caller, node = content->node, blob_name,
                    done = std::move(done)](Result<void> taken) mutable {
      overlay->end_import(caller, node, taken.has_value());
      if (!taken)
        return done(fail(std::move(taken.error())
                             .during(fmt::format("a client's download of {}", blob_name))));
      done({});
    };
    const std::uint64_t number = entry->node.blob_number();
    if (const auto blob = store.blob(number); content->lost && blob && blob->verified)
      return settled({});
    store.import_file(number, content->path, std::move(settled));
  };
  const Asking asking(std::make_shared<Asker>(caller));
  catalog_.lookup(caller, to, new_name, Parked<Entry>::wrap(std::move(stop), std::move(known)));
}

}  // namespace hffs::fs
