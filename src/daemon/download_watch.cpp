// SPDX-License-Identifier: Apache-2.0
#include "download_watch.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>

#include "hffs/telemetry.h"

namespace hffs {
namespace {

constexpr std::size_t kMostSeen = 4'096;
constexpr std::array<std::string_view, 2> kPrograms{"hf", "huggingface-cli"};
constexpr std::array<std::string_view, 9> kWithValue{"--repo-type", "--type", "--revision", "--include", "--exclude",
                                                     "--cache-dir", "--token", "--max-workers", "--format"};
constexpr std::array<std::string_view, 4> kFillsNoCache{"--local-dir", "--dry-run", "--force-download", "--help"};

std::vector<std::string> words_of(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/cmdline", process));
  const std::string text(std::istreambuf_iterator<char>(file), {});
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
  std::vector<std::string> include, exclude;
  const auto take = [&](std::string_view option, const std::string& value) {
    if (option == "--repo-type" || option == "--type") type = value;
    if (option == "--revision") revision = value;
    if (option == "--include") include.push_back(value);
    if (option == "--exclude") exclude.push_back(value);
  };
  for (std::size_t i = behind_program(words); i < words.size(); ++i) {
    const std::string& word = words[i];
    const std::size_t equals = std::min(word.find('='), word.size());
    const std::string name = word.substr(0, equals);
    if (std::ranges::find(kFillsNoCache, name) != kFillsNoCache.end()) return std::nullopt;
    if (!word.starts_with("--")) {
      // Several patterns may follow --include and --exclude; behind REPO stand the names of files.
      if (repo.empty()) repo = word;
      else take(last == "--exclude" ? "--exclude" : "--include", word);
      continue;
    }
    last = name;
    if (std::ranges::find(kWithValue, name) == kWithValue.end()) continue;
    if (equals < word.size()) take(name, word.substr(equals + 1));
    else if (i + 1 < words.size()) take(name, words[++i]);
  }
  const std::string prefix = type == "model" ? "" : type + "s/";
  const auto parsed = RepoId::parse_user(prefix + repo);
  if (repo.empty() || !parsed) return std::nullopt;
  return DownloadCommand{
      .repo = *parsed, .revision = std::move(revision), .include = std::move(include), .exclude = std::move(exclude)};
}

void DownloadWatch::entered(const Caller& caller, const RepoId& repo) {
  {
    auto seen = seen_.lock();
    if (seen->size() >= kMostSeen) seen->clear();
    if (!seen->emplace(caller.pid, repo.layout()).second) return;
  }
  const auto command = parse_download(words_of(caller.pid));
  if (!command || command->repo != repo) return;
  log(Level::info, "prefetch", "uid={} pid={} downloads {}@{}: it is brought here", caller.uid, caller.pid, repo.text(),
      command->revision);
  start_(caller, *command);
}

}  // namespace hffs
