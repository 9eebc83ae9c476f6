// SPDX-License-Identifier: Apache-2.0
#include "reading.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "hffs/naming.h"

namespace hffs::folder {
namespace {

// Where a repository lies: in a cache, in the cache of what HF_HOME names, or by itself.
struct Place {
  std::string path;
  bool plain = false;
};

// A folder that holds files is a model; one that holds only folders is an organisation.
Result<bool> is_plain_model(const Folder& folder, const std::string& place) {
  const auto there = folder.is_directory(place);
  if (!there || !*there) return there;
  const auto items = folder.list(place);
  if (!items) return fail(Error(items.error()));
  return std::ranges::any_of(*items, [](const Folder::Item& item) {
    return !S_ISDIR(item.type) && !item.name.starts_with('.');
  });
}

Result<Place> find_repo(const Folder& folder, const RepoId& repo) {
  for (const std::string& place : {repo.layout(), "hub/" + repo.layout()}) {
    const auto there = folder.is_directory(place);
    if (!there) return fail(Error(there.error()));
    if (*there) return Place{place, false};
  }
  const auto plain = is_plain_model(folder, repo.text());
  if (!plain) return fail(Error(plain.error()));
  if (*plain) return Place{repo.text(), true};
  return fail(Code::not_found, "{} has neither {} nor a folder {} with files", folder.path(),
              repo.layout(), repo.text());
}

bool has_a_model(const Folder& folder, const std::vector<Folder::Item>& items) {
  for (const auto& [name, type] : items) {
    if (!S_ISDIR(type) || name.starts_with('.')) continue;
    if (RepoId::parse_layout(name) || name == "hub") return true;
    if (is_plain_model(folder, name).value_or(false)) return true;
    const auto below = folder.list(name);
    if (below && std::ranges::any_of(*below, [](const auto& item) { return S_ISDIR(item.type); }))
      return true;
  }
  return false;
}

std::string commit_place(const Place& place, const CommitId& commit) {
  return fmt::format("{}/snapshots/{}", place.path, commit.hex());
}

// Root's worker has no capability: it may read what it owns, and what everybody may.
std::string reader_name() {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 16'384> buffer;
  if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return fmt::format("user {}", ::geteuid());
  return fmt::format("user {} ({}, without capabilities)", found->pw_name, ::geteuid());
}

}  // namespace

Error explain(const std::string& path, Error error) {
  switch (error.code) {
    case Code::not_found:
      return {Code::unreachable,
              fmt::format("{} is not there: is it mounted, and spelled right?", path), {}};
    case Code::not_directory:
      return {Code::unreachable, fmt::format("{} is not a folder", path), {}};
    case Code::denied:
      return {Code::unreachable,
              fmt::format("{} may not be read by {}, whom hffs runs as: allow it (setfacl -Rm u:{}:rX, or chmod -R "
                          "o+rX; each directory above it needs x)",
                          path, reader_name(), ::geteuid()),
              {}};
    default: return {Code::unreachable, std::move(error.message), {}};
  }
}

Result<void> look_at(const std::string& path, const Io& io) {
  const auto folder = Folder::open(path, io.beat);
  if (!folder) return fail(explain(path, folder.error()));
  // No cache answers this in the place of a server.
  struct statvfs space{};
  if (::statvfs(path.c_str(), &space) != 0) return fail(explain(path, system_error(errno, path)));
  const auto items = folder->list("");
  if (!items) return fail(explain(path, items.error()));
  if (!has_a_model(*folder, *items))
    return fail(Code::unreachable,
                "{} holds no model: neither models--ORG--NAME folders (a Hugging Face cache) nor "
                "folders ORG/NAME with files",
                path);
  return {};
}

Result<std::optional<RepoInfo>> read_revision(const Folder& folder, const RepoId& repo,
                                              const std::string& revision) {
  const auto place = find_repo(folder, repo);
  if (!place) return fail(Error(place.error()));
  RepoInfo info{.id = repo, .attested_by = kFolderItself};
  if (place->plain && revision == "main") return std::optional<RepoInfo>{};
  if (place->plain) return info;
  auto text = folder.read_small(fmt::format("{}/refs/{}", place->path, revision), 128);
  if (!text) {
    const Code code = text.error().code;
    const bool absent = code == Code::not_found || code == Code::not_directory ||
                        code == Code::invalid || code == Code::refused;
    return absent ? Result<std::optional<RepoInfo>>(info) : fail(text);
  }
  text->erase(text->find_last_not_of(" \r\n\t") + 1);
  const auto commit = CommitId::parse(*text);
  if (!commit) return info;
  // A ref without its snapshot is what an interrupted download leaves.
  const auto there = folder.is_directory(commit_place(*place, *commit));
  if (!there) return fail(Error(there.error()));
  if (*there) info.commit = *commit;
  return info;
}

Result<Listing> list_commit(Folder folder, const RepoId& repo,
                            const std::optional<CommitId>& commit) {
  const auto place = find_repo(folder, repo);
  if (!place) return fail(Error(place.error()));
  if (!place->plain) {
    if (!commit) return fail(Code::bug, "a cache has many commits");
    const auto there = folder.is_directory(commit_place(*place, *commit));
    if (!there) return fail(Error(there.error()));
    if (!*there)
      return fail(Code::not_found, "{} has no snapshot {} of {}", folder.path(), commit->hex(),
                  repo.text());
  }
  Found found{.folder = std::move(folder)};
  Listing listing{.commit = place->plain ? read_files(found, place->path)
                                         : read_commit(found, place->path, *commit),
                  .plain = place->plain};
  for (const Skipped& each : found.skipped) {
    // A tree without it would say that there is no such file.
    if (each.passing) return fail(Code::unreachable, "{}/{}: {}", found.folder.path(), each.path, each.reason);
    log(Level::debug, "folder", "{}/{} is left out: {}", found.folder.path(), each.path,
        each.reason);
  }
  return listing;
}

Result<RefList> list_refs(Folder folder, const RepoId& repo) {
  const auto place = find_repo(folder, repo);
  if (!place) return fail(Error(place.error()));
  RefList list;
  if (place->plain) return list;
  Found found{.folder = std::move(folder)};
  FoundRepo read{.id = repo};
  read_refs(found, read, place->path);
  for (const Skipped& each : found.skipped)
    if (each.passing) return fail(Code::unreachable, "{}/{}: {}", found.folder.path(), each.path, each.reason);
  for (FoundRef& ref : read.refs) list.refs.push_back({std::move(ref.revision), ref.commit});
  return list;
}

Result<Candidate> find_content(const Folder& folder, const FileSource& file) {
  const auto place = find_repo(folder, file.repo);
  if (!place) return fail(Error(place.error()));
  std::vector<std::pair<std::string, bool>> places;
  if (place->plain) {
    places.emplace_back(fmt::format("{}/{}", place->path, file.path), false);
  } else {
    places.emplace_back(fmt::format("{}/blobs/{}", place->path, file.blob.hex()), true);
    places.emplace_back(fmt::format("{}/{}", commit_place(*place, file.commit), file.path), false);
  }
  std::string has = "it is not there";
  for (auto& [name, named] : places) {
    // A link names its content, and names another.
    if (!named && !place->plain && folder.read_link(name)) continue;
    auto opened = folder.open_file(name);
    if (opened && opened->size == file.size)
      return Candidate{std::move(name), std::move(opened->fd), opened->stamp, named};
    if (opened) {
      has = fmt::format("{} has {} bytes, not {}", name, opened->size, file.size);
    } else if (info(opened.error().code).retry_helps || opened.error().code == Code::io) {
      return fail(opened);
    } else if (opened.error().code != Code::not_found) {
      has = fmt::format("{}: {}", name, opened.error().message);
    }
  }
  return fail(Code::not_found, "{} has not {} of {}: {}", folder.path(), file.path,
              file.repo.text(), has);
}

Result<BlobId> name_content(const Folder& folder, const std::string& place, const Stamp& stamp,
                            const Io& io) {
  const auto changed = [&] {
    return fail(Code::unreachable, "{}/{} changes while it is read", folder.path(), place);
  };
  const auto file = folder.open_file(place);
  if (!file) return fail(Error(file.error()));
  if (file->stamp != stamp) return changed();
  const auto kind = kind_of_file(file->fd.get(), stamp.size);
  if (!kind) return fail(Error(kind.error()));
  io.beat();
  auto blob = hash_file(file->fd.get(), stamp.size, *kind, io.stop,
                        [&](std::uint64_t) { io.beat(); });
  if (!blob) return blob.error().code == Code::corrupt ? changed() : fail(blob);
  const auto after = stamp_of(file->fd.get());
  if (!after || *after != stamp) return changed();
  return blob;
}

}  // namespace hffs::folder
