// SPDX-License-Identifier: Apache-2.0
#include "hffs/layout.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "hffs/json_text.h"

namespace hffs {
namespace {

constexpr std::size_t kMostListingBytes = std::size_t{256} << 20;
constexpr int kMostDepth = 64;
// huggingface_hub 1.32, utils/_shared_blobs.py: the mark of a cache-wide store.
constexpr const char* kSharedStore = "blobs/.huggingface-shared-blobs";

std::string join(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + '/' + name;
}

// "blobs/HASH" at the end of a link.
std::optional<BlobId> blob_of_link(const std::string& target) {
  const std::filesystem::path path(target);
  if (path.parent_path().filename() != "blobs") return {};
  auto blob = BlobId::parse(path.filename().string());
  if (!blob) return {};
  return *blob;
}

class LayoutReader {
 public:
  LayoutReader(Found& found, bool plain) : found_(found), plain_(plain) {}

  // All files below `place`, which are those of the repository below `path`.
  void walk(const std::string& place, const std::string& path, std::vector<FoundFile>& files,
            int depth = 0) {
    const auto items = found_.folder.list(place);
    if (!items) {
      found_.skipped.push_back(refused(place, items.error()));
      return;
    }
    if (depth > kMostDepth) return skip(place, Skip::bad_name, "it lies too deep");
    for (const auto& [name, type] : *items) {
      const std::string here = join(place, name), inside = join(path, name);
      if (plain_ && (inside == ".cache" || inside == ".git")) continue;  // clients' own
      if (plain_ && name.ends_with(".incomplete")) {
        skip(here, Skip::partial, "a download that did not end");
      } else if (S_ISDIR(type)) {
        walk(here, inside, files, depth + 1);
      } else if (!parse_repo_path(inside)) {
        skip(here, Skip::bad_name, "no repository can have this name");
      } else {
        take(here, inside, type, files);
      }
    }
  }

  void skip(std::string place, Skip why, std::string reason) {
    found_.skipped.push_back({std::move(place), why, std::move(reason)});
  }

 private:
  void take(const std::string& place, const std::string& path, mode_t type,
            std::vector<FoundFile>& files) {
    const auto file = found_.folder.open_file(place);
    if (!file) {
      found_.skipped.push_back(refused(place, file.error()));
      return;
    }
    FoundFile taken{.path = path, .place = place, .size = file->size, .stamp = file->stamp};
    if (S_ISLNK(type))
      if (const auto target = found_.folder.read_link(place)) taken.blob = blob_of_link(*target);
    files.push_back(std::move(taken));
  }

  Found& found_;
  const bool plain_;
};

// A folder of a repository that is not there holds nothing; one that cannot be read, who knows.
void note_unlisted(Found& found, const std::string& place, const Error& error) {
  if (error.code != Code::not_found) found.skipped.push_back(refused(place, error));
}

void read_refs_below(Found& found, FoundRepo& repo, const std::string& place,
                     const std::string& revision) {
  const auto items = found.folder.list(place);
  if (!items) return note_unlisted(found, place, items.error());  // none: a cache that knows commits only
  for (const auto& [name, type] : *items) {
    const std::string here = join(place, name), inside = join(revision, name);
    if (S_ISDIR(type)) {
      read_refs_below(found, repo, here, inside);
      continue;
    }
    auto text = found.folder.read_small(here, 128);
    if (text) text->erase(text->find_last_not_of(" \r\n\t") + 1);
    auto commit = text ? CommitId::parse(*text) : fail(text);
    if (!parse_revision(inside) || !commit)
      found.skipped.push_back({here, Skip::bad_name, "it is no ref: it names no commit"});
    else
      repo.refs.push_back({inside, *commit});
  }
}

// What huggingface_hub 2 keeps of a tree.
std::vector<TreeEntry> read_listing(const Folder& folder, const std::string& place) {
  std::vector<TreeEntry> files;
  const auto text = folder.read_small(place, kMostListingBytes);
  if (!text) return files;
  const auto parsed = parse_json(*text);
  if (!parsed.is_object() || parsed.value("format_version", nlohmann::json()) != 1) return files;
  const auto listed = parsed.find("files");
  if (listed == parsed.end() || !listed->is_object()) return files;
  for (const auto& [path, file] : listed->items()) {
    if (!file.is_object() || !parse_repo_path(path)) continue;
    const bool lfs = file.contains("lfs_sha256");
    const auto hash = file.find(lfs ? "lfs_sha256" : "blob_id");
    const auto size = file.find(lfs ? "lfs_size" : "size");
    if (hash == file.end() || !hash->is_string() || size == file.end() ||
        !size->is_number_unsigned())
      continue;
    if (auto blob = BlobId::parse(hash->get<std::string>()))
      files.push_back({.path = path, .size = size->get<std::uint64_t>(), .blob = *blob});
  }
  return files;
}

// Blobs that are not whole, and those that no snapshot leads to.
void look_at_blobs(Found& found, const std::string& place, const FoundRepo& repo) {
  const auto items = found.folder.list(place);
  if (!items) return note_unlisted(found, place, items.error());
  std::set<std::string> named;
  for (const FoundCommit& commit : repo.commits)
    for (const FoundFile& file : commit.files)
      if (file.blob) named.insert(file.blob->hex());
  for (const auto& [name, type] : *items) {
    if (name.ends_with(".incomplete"))
      found.skipped.push_back({join(place, name), Skip::partial, "a download that did not end"});
    else if (BlobId::parse(name) && !named.contains(name))
      found.skipped.push_back({join(place, name), Skip::unreferenced, "no snapshot names it"});
  }
}

void read_repo(Found& found, const RepoId& id, const std::string& place) {
  FoundRepo repo{.id = id};
  LayoutReader reader(found, false);
  const auto snapshots = found.folder.list(join(place, "snapshots"));
  if (!snapshots) note_unlisted(found, join(place, "snapshots"), snapshots.error());
  for (const auto& [name, type] : snapshots ? *snapshots : std::vector<Folder::Item>{}) {
    const std::string here = join(place, "snapshots/" + name);
    const auto commit = CommitId::parse(name);
    if (commit && S_ISDIR(type))
      repo.commits.push_back(read_commit(found, place, *commit));
    else if (commit && S_ISLNK(type))
      reader.skip(here, Skip::outside, "it is a link");
    else if (!S_ISLNK(type))  // those with a revision's name lead to its commit
      reader.skip(here, Skip::bad_name, "it is no commit's snapshot");
  }
  read_refs(found, repo, place);
  look_at_blobs(found, join(place, "blobs"), repo);
  found.repos.push_back(std::move(repo));
}

bool is_repo(const Folder::Item& item) {
  return S_ISDIR(item.type) && RepoId::parse_layout(item.name).has_value();
}

Result<std::string> real_path(const std::string& path) {
  std::error_code error;
  auto real = std::filesystem::canonical(path, error);
  if (error) return fail(system_error(error.value(), path));
  if (!std::filesystem::is_directory(real, error))
    return fail(Code::not_directory, "{} is not a folder", path);
  return real.string();
}

}  // namespace

std::vector<FoundFile*> unnamed(FoundCommit& commit) {
  std::set<std::string_view> listed;
  for (const TreeEntry& entry : commit.listing) listed.insert(entry.path);
  std::vector<FoundFile*> files;
  for (FoundFile& file : commit.files)
    if (!file.blob && !listed.contains(file.path)) files.push_back(&file);
  return files;
}

std::vector<TreeEntry> entries_of(const FoundCommit& commit) {
  std::map<std::string_view, TreeEntry> files;
  for (const TreeEntry& listed : commit.listing) files.insert_or_assign(listed.path, listed);
  for (const FoundFile& file : commit.files) {
    const auto listed = files.find(file.path);
    if (!file.blob || (listed != files.end() && listed->second.blob == file.blob)) continue;
    files.insert_or_assign(file.path,
                           TreeEntry{.path = file.path, .size = file.size, .blob = file.blob});
  }
  std::vector<TreeEntry> entries;
  for (auto& [path, entry] : files) entries.push_back(std::move(entry));
  return entries;
}

void read_refs(Found& found, FoundRepo& repo, const std::string& place) {
  read_refs_below(found, repo, join(place, "refs"), "");
}

FoundCommit read_commit(Found& found, const std::string& place, const CommitId& commit) {
  FoundCommit taken{.id = commit};
  LayoutReader(found, false).walk(join(place, "snapshots/" + commit.hex()), "", taken.files);
  taken.listing = read_listing(found.folder, join(place, "trees/" + commit.hex() + ".json"));
  return taken;
}

FoundCommit read_files(Found& found, const std::string& place) {
  FoundCommit taken;
  LayoutReader(found, true).walk(place, "", taken.files);
  return taken;
}

Result<OpenedFolder> open_cache(const std::string& path) {
  auto real = real_path(path);
  if (!real) return fail(real);
  const std::filesystem::path given(*real);
  if (const auto alone = RepoId::parse_layout(given.filename().string())) {
    // Its links stay inside, but where the cache has a store of its own they lead into that.
    const auto cache = given.parent_path();
    const bool shared = std::filesystem::exists(cache / kSharedStore);
    auto folder = Folder::open(shared ? cache.string() : *real);
    if (!folder) return fail(folder);
    return OpenedFolder{std::move(*folder), OpenedFolder::Alone{*alone, shared ? alone->layout() : ""}};
  }
  auto folder = Folder::open(*real);
  if (!folder) return fail(folder);
  const auto items = folder->list("");
  if (!items) return fail(Error(items.error()));
  // What HF_HOME names holds the cache itself.
  if (std::ranges::none_of(*items, is_repo) && folder->is_directory("hub").value_or(false))
    return open_cache(*real + "/hub");
  return OpenedFolder{std::move(*folder), {}};
}

Result<Found> read_cache(OpenedFolder opened) {
  Found found{.folder = std::move(opened.folder)};
  if (opened.alone) {
    read_repo(found, opened.alone->repo, opened.alone->place);
    return found;
  }
  const auto items = found.folder.list("");
  if (!items) return fail(Error(items.error()));
  for (const Folder::Item& item : *items)
    if (is_repo(item)) read_repo(found, *RepoId::parse_layout(item.name), item.name);
  if (!found.repos.empty()) return found;
  return fail(Code::invalid,
              "{} holds no models--ORG--NAME folder; for a plain folder of a model say --repo "
              "ORG/NAME",
              found.folder.path());
}

Result<Found> read_snapshot(const std::string& path, const CommitId& commit) {
  const auto id = RepoId::parse_layout(std::filesystem::path(path).filename().string());
  if (!id) return fail(Code::invalid, "{} is not the folder of a repository", path);
  auto folder = Folder::open(path);
  if (!folder) return fail(folder);
  Found found{.folder = std::move(*folder)};
  FoundRepo& repo = found.repos.emplace_back(FoundRepo{.id = *id});
  repo.commits.push_back(read_commit(found, "", commit));
  return found;
}

Result<OpenedFolder> open_plain(const std::string& path) {
  auto real = real_path(path);
  if (!real) return fail(real);
  auto folder = Folder::open(*real);
  if (!folder) return fail(folder);
  return OpenedFolder{std::move(*folder), {}};
}

Result<Found> read_plain(OpenedFolder opened, const RepoId& repo) {
  Found found{.folder = std::move(opened.folder)};
  if (found.folder.is_directory("snapshots").value_or(false) &&
      found.folder.is_directory("blobs").value_or(false))
    return fail(Code::invalid, "{} is a folder of a cache: import it without --repo", found.folder.path());
  FoundRepo& taken = found.repos.emplace_back(FoundRepo{.id = repo});
  taken.commits.push_back(read_files(found, ""));
  if (taken.commits.front().files.empty() && found.skipped.empty())
    return fail(Code::invalid, "{} holds no file", found.folder.path());
  return found;
}

}  // namespace hffs
