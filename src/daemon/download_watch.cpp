// SPDX-License-Identifier: Apache-2.0
#include "download_watch.h"

#include <algorithm>
#include <array>
#include <fstream>

#include "hffs/activity.h"

namespace hffs {
namespace {

constexpr std::size_t kMostSeen = 4'096;
// Bytes of a command line; of a longer one the rest is not seen.
constexpr std::size_t kMostWords = 65'536;
constexpr std::array<std::string_view, 2> kPrograms{"hf", "huggingface-cli"};
constexpr std::array<std::string_view, 9> kWithValue{"--repo-type", "--type", "--revision", "--include", "--exclude",
                                                     "--cache-dir", "--token", "--max-workers", "--format"};
constexpr std::array<std::string_view, 4> kFillsNoCache{"--local-dir", "--dry-run", "--force-download", "--help"};

std::vector<std::string> words_of(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/cmdline", process));
  std::string text(kMostWords, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(0, file.gcount())));
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\0', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

std::string_view base_of(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

// A script's interpreter comes first.
std::size_t behind_program(const std::vector<std::string>& words) {
  for (std::size_t i = 0; i + 1 < std::min<std::size_t>(words.size(), 3); ++i)
    if (std::ranges::find(kPrograms, base_of(words[i])) != kPrograms.end() && words[i + 1] == "download") return i + 2;
  return words.size();
}

}  // namespace

std::optional<DownloadCommand> parse_download(const std::vector<std::string>& words) {
  std::string repo, type = "model", revision = "main", last;
  Globs files;
  std::vector<std::string> names;
  const auto take = [&](std::string_view option, const std::string& value) {
    if (option == "--repo-type" || option == "--type") type = value;
    if (option == "--revision") revision = value;
    if (option == "--include") files.include.push_back(value);
    if (option == "--exclude") files.exclude.push_back(value);
  };
  for (std::size_t i = behind_program(words); i < words.size(); ++i) {
    const std::string& word = words[i];
    const std::size_t equals = std::min(word.find('='), word.size());
    const std::string name = word.substr(0, equals);
    if (std::ranges::find(kFillsNoCache, name) != kFillsNoCache.end()) return std::nullopt;
    if (word.starts_with("--")) {
      last = name;
      if (std::ranges::find(kWithValue, name) == kWithValue.end()) continue;
      if (equals < word.size()) take(name, word.substr(equals + 1));
      else if (i + 1 < words.size()) take(name, words[++i]);
    } else if (word.starts_with('-')) {
      continue;
    } else if (repo.empty()) {
      repo = word;
    } else if (last == "--include" || (last == "--exclude" && word.find_first_of("*?[") != word.npos)) {
      take(last, word);  // the older ones take several patterns
    } else {
      names.push_back(word);
    }
  }
  // Names of files leave no room for patterns.
  if (!names.empty()) files = {.include = std::move(names), .exclude = {}};
  if (repo.starts_with("hf://")) {
    repo.erase(0, 5);
    if (repo.starts_with("models/")) repo.erase(0, 7);
    if (const std::size_t at = repo.find('@'); at != repo.npos) {
      revision = repo.substr(at + 1);
      repo.erase(at);
    }
  } else if (type != "model") {
    repo = fmt::format("{}s/{}", type, repo);
  }
  const auto parsed = RepoId::parse_user(repo);
  const auto known = parse_revision(revision);
  if (!parsed || !known || files.include.size() + files.exclude.size() > DownloadCommand::kMostPatterns) return std::nullopt;
  return DownloadCommand{.repo = *parsed, .revision = *known, .files = std::move(files)};
}

bool DownloadWatch::is_new(const Caller& caller, const RepoId& repo) {
  const pid_t process = caller.pid > 0 ? process_of(caller.pid) : 0;
  if (process == 0) return false;
  auto seen = seen_.lock();
  if (seen->size() >= kMostSeen) seen->clear();
  return seen->emplace(process, repo.layout()).second;
}

std::optional<DownloadCommand> DownloadWatch::find(const Caller& caller, const RepoId& repo) const {
  auto command = parse_download(words_of(caller.pid));
  if (command && command->repo != repo) command.reset();
  return command;
}

}  // namespace hffs
