// SPDX-License-Identifier: Apache-2.0
#include "answers.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <set>

#include "hffs/json_text.h"

namespace hffs::hub {
namespace {

using nlohmann::json;

constexpr int kMostDepth = 32;
// A parsed value takes tens of bytes: this bounds what hostile text can make of a body.
constexpr std::size_t kMostValues = 3'000'000;
// 1 PiB: no file of the Hub comes near, and offsets stay far from overflow.
constexpr std::uint64_t kMostSize = std::uint64_t{1} << 50;

std::unexpected<Error> nonsense(std::string_view why) {
  return fail(Code::unreachable, "not the answer of a Hub: {}", why);
}

// Looks at the brackets and commas outside of texts, before anything is built.
bool is_bounded(std::string_view body) {
  int depth = 0;
  std::size_t values = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
      continue;
    }
    if (c == '"') quoted = true;
    if (c == '[' || c == '{' || c == ',') ++values;
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth > kMostDepth || values > kMostValues) return false;
  }
  return true;
}

Result<json> parse(std::string_view body, json::value_t wanted) {
  if (!is_bounded(body)) return nonsense("JSON without bounds");
  json value = parse_json(body);
  if (value.is_discarded()) return nonsense("no JSON");
  if (value.type() != wanted) return nonsense("JSON of another shape");
  return value;
}

// The text under `key`; nothing if there is none or it is something else.
const std::string* text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : found->get_ptr<const std::string*>();
}

bool is_true(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

std::optional<std::uint64_t> size_of(const json& object) {
  const auto found = object.find("size");
  if (found == object.end() || !found->is_number_unsigned()) return std::nullopt;
  const auto size = found->get<std::uint64_t>();
  return size <= kMostSize ? std::optional(size) : std::nullopt;
}

// What to show of a name that was refused.
std::string shown(std::string_view text) {
  std::string result(text.substr(0, 80));
  for (char& c : result)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return result;
}

// Size and hash of a file, or why they cannot be used.
Result<void> read_content(const json& item, TreeEntry& entry) {
  const auto lfs = item.find("lfs");
  const bool is_lfs = lfs != item.end() && !lfs->is_null();
  if (is_lfs && !lfs->is_object()) return fail(Code::corrupt, "lfs is no object");
  const json& content = is_lfs ? *lfs : item;
  const auto size = size_of(content);
  if (!size) return fail(Code::corrupt, "no usable size");
  const std::string* oid = text_of(content, "oid");
  if (oid == nullptr) return fail(Code::corrupt, "no oid");
  auto blob = BlobId::parse(*oid);
  if (!blob) return fail(blob);
  if (is_lfs && blob->kind() != BlobId::Kind::sha256)
    return fail(Code::corrupt, "lfs.oid is not a sha256");
  entry.size = *size;
  entry.blob = std::move(*blob);
  return {};
}

// Names so far: no path is both file and directory, none is said twice.
class Names {
 public:
  bool accept(const TreeEntry& entry) {
    for (std::size_t slash = entry.path.find('/'); slash != std::string::npos;
         slash = entry.path.find('/', slash + 1))
      if (files_.contains(std::string_view(entry.path).substr(0, slash))) return false;
    if (entry.kind == TreeEntry::Kind::file) {
      if (directories_.contains(entry.path)) return false;
      if (!files_.insert(entry.path).second) return false;
    } else if (files_.contains(entry.path)) {
      return false;
    } else {
      directories_.insert(entry.path);
    }
    for (std::size_t slash = entry.path.rfind('/'); slash != std::string::npos && slash > 0;
         slash = entry.path.rfind('/', slash - 1))
      if (!directories_.insert(entry.path.substr(0, slash)).second) break;
    return true;
  }

 private:
  std::set<std::string, std::less<>> files_, directories_;
};

// One list of `refs`: `whole` lists are known by their full name ("refs/pr/1").
void read_refs(const RepoId& repo, const json& answer, const char* key, bool whole, RefList& list) {
  const auto items = answer.find(key);
  if (items == answer.end() || !items->is_array()) return;
  for (const json& item : *items) {
    const std::string* name = item.is_object() ? text_of(item, whole ? "ref" : "name") : nullptr;
    const std::string* target = item.is_object() ? text_of(item, "targetCommit") : nullptr;
    if (name == nullptr || target == nullptr) continue;
    auto revision = parse_revision(*name);
    auto commit = CommitId::parse(*target);
    if (!revision || !commit) {
      log(Level::warn, "hub", "{}: left out the ref '{}'", repo.text(), shown(*name));
      continue;
    }
    list.refs.push_back({std::move(*revision), std::move(*commit)});
  }
}

}  // namespace

WallTime parse_time(std::string_view text) {
  std::tm time{};
  const std::string copy(text.substr(0, 32));
  if (std::sscanf(copy.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d", &time.tm_year, &time.tm_mon,
                  &time.tm_mday, &time.tm_hour, &time.tm_min, &time.tm_sec) != 6)
    return {};
  time.tm_year -= 1900;
  time.tm_mon -= 1;
  const std::time_t seconds = ::timegm(&time);
  return seconds > 0 ? WallTime{std::chrono::seconds{seconds}} : WallTime{};
}

Result<RepoInfo> parse_repo_info(const RepoId& asked, std::string_view body) {
  const auto answer = parse(body, json::value_t::object);
  if (!answer) return fail(answer.error());
  RepoInfo repo{.id = asked};
  if (answer->contains("id")) {
    const std::string* name = text_of(*answer, "id");
    auto id = RepoId::parse(asked.type(), name == nullptr ? "" : *name);
    if (!id) return nonsense("the repository's id is not well-formed");
    repo.id = std::move(*id);
  }
  const std::string* sha = text_of(*answer, "sha");
  auto commit = CommitId::parse(sha == nullptr ? "" : *sha);
  if (!commit) return nonsense("no commit");
  repo.commit = std::move(*commit);
  if (const std::string* time = text_of(*answer, "lastModified"))
    repo.last_modified = parse_time(*time);
  repo.tells_access = answer->contains("private") && answer->at("private").is_boolean();
  repo.is_private = is_true(*answer, "private");
  // false, true, "auto" or "manual".
  repo.is_gated = text_of(*answer, "gated") != nullptr || is_true(*answer, "gated");
  return repo;
}

Result<std::vector<TreeEntry>> parse_entries(const RepoId& repo, std::string_view body) {
  const auto answer = parse(body, json::value_t::array);
  if (!answer) return fail(answer.error());
  std::vector<TreeEntry> entries;
  entries.reserve(answer->size());
  Names names;
  for (const json& item : *answer) {
    const std::string* type = item.is_object() ? text_of(item, "type") : nullptr;
    const std::string* path = item.is_object() ? text_of(item, "path") : nullptr;
    if (type == nullptr || path == nullptr) return nonsense("an entry without type or path");
    const bool is_file = *type == "file";
    if (!is_file && *type != "directory") continue;  // submodules
    const auto leave_out = [&](std::string_view why) {
      log(Level::warn, "hub", "{}: left out '{}' of the tree: {}", repo.text(), shown(*path), why);
    };
    auto checked = parse_repo_path(*path);
    if (!checked) {
      leave_out("no file system can hold this path");
      continue;
    }
    TreeEntry entry{.kind = is_file ? TreeEntry::Kind::file : TreeEntry::Kind::directory,
                    .path = std::move(*checked)};
    if (is_file) {
      if (auto content = read_content(item, entry); !content) {
        leave_out(content.error().message);
        continue;
      }
    }
    if (names.accept(entry))
      entries.push_back(std::move(entry));
    else
      leave_out("the name is taken by another entry");
  }
  return entries;
}

// It is shown to people.
Result<std::string> parse_user_name(std::string_view body) {
  auto answer = parse(body, json::value_t::object);
  if (!answer) return fail(answer);
  const std::string* name = text_of(*answer, "name");
  constexpr std::size_t kMost = 200;
  if (name == nullptr || name->empty() || name->size() > kMost ||
      !std::ranges::all_of(*name, [](char c) { return c > ' ' && c < 0x7f; }))
    return nonsense("no name of a user");
  return *name;
}

Result<RefList> parse_refs(const RepoId& repo, std::string_view body) {
  const auto answer = parse(body, json::value_t::object);
  if (!answer) return fail(answer.error());
  if (!answer->contains("branches")) return nonsense("no branches");
  RefList list;
  read_refs(repo, *answer, "branches", false, list);
  read_refs(repo, *answer, "tags", false, list);
  read_refs(repo, *answer, "converts", true, list);
  read_refs(repo, *answer, "pullRequests", true, list);
  return list;
}

}  // namespace hffs::hub
