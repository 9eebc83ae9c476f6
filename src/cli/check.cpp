// SPDX-License-Identifier: Apache-2.0
//
// A lock file against what is so now. The daemon is asked: for refs as the caller reads them, for the
// listing of each commit, and which bytes are here and verified. --fetch reads what is missing through
// the mount, as any reader would.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <thread>

#include "command_table.h"
#include "commands.h"
#include "hffs/json_text.h"
#include "lock_file.h"
#include "progress.h"

namespace hffs::cli {
namespace {

constexpr const char* kCheckHelp = R"(Compares a lock file with what is so now, file by file: whether refs still mean the commits, whether
the commits have the same files, and whether their bytes are here. Bytes were checked against their hash
when they came.

Examples:
  hffs check models.lock
  hffs check models.lock --fetch           and fetch what is missing
  hffs check models.lock --offline         send no request

Exit codes: 10 if a hash differs, 3 if a ref, commit or file is gone, 12 if bytes are missing, 17 if a ref
has moved, 7 if the Hub could not be asked; the first of these that is so.)";


struct CheckArguments {
  std::string lock;
  bool fetch = false, offline = false, json = false;
  DaemonName where;
};

using nlohmann::json;
constexpr std::chrono::seconds kVerdict{10};

// What is wrong, the worst first.
enum class Wrong { hash, gone, missing, moved, unknown };
struct Kind {
  const char* name;
  Code code;
};
constexpr std::array<Kind, 5> kKinds{{{"hash", Code::corrupt},
                                      {"gone", Code::not_found},
                                      {"missing", Code::io},
                                      {"moved", Code::stale},
                                      {"unknown", Code::unreachable}}};

class LockCheck {
 public:
  explicit LockCheck(const CheckArguments& arguments) : arguments_(arguments) {}
  Result<void> run(const json& repos);
  const json& report() const { return report_; }
  Result<void> verdict() const;

 private:
  Result<void> check_ref(const json& repo, const std::string& ref);
  Result<void> check_files(const json& repo);
  Result<std::map<std::string, json>> load_tree(const json& repo);
  Result<std::map<std::string, json>> load_settled(const json& repo);
  Result<void> fetch(const json& repo, const json& file);
  void tell(const json& repo, const std::string& what, Wrong wrong, std::string reason);

  const CheckArguments& arguments_;
  json report_{{"files", 0}, {"problems", json::array()}};
  std::string mount_point_;
  Progress progress_;
  std::array<std::size_t, kKinds.size()> counts_{};
};

void LockCheck::tell(const json& repo, const std::string& what, Wrong wrong, std::string reason) {
  ++counts_[static_cast<std::size_t>(wrong)];
  report_["problems"].push_back({{"repo", repo.at("repo")},
                                 {"commit", repo.at("commit")},
                                 {"what", what},
                                 {"problem", kKinds[static_cast<std::size_t>(wrong)].name},
                                 {"reason", std::move(reason)}});
}

Result<void> LockCheck::check_ref(const json& repo, const std::string& ref) {
  const json request{{"command", "ref"}, {"repo", repo.at("repo")}, {"revision", ref},
                     {"ask", !arguments_.offline}};
  auto now = ask(arguments_.where, request, kLongAnswer);
  const std::string name = "refs/" + ref;
  if (!now && (now.error().code == Code::not_found || info(now.error().code).retry_helps ||
               now.error().code == Code::offline)) {
    tell(repo, name, now.error().code == Code::not_found ? Wrong::gone : Wrong::unknown, now.error().message);
    return {};
  }
  if (!now) return fail(now);
  const json& frozen = now->at("frozen");
  const json& means = !frozen.is_null() ? frozen : now->at(arguments_.offline ? "known" : "hub");
  if (means == repo.at("commit")) return {};
  if (means.is_null())
    tell(repo, name, Wrong::gone, arguments_.offline ? "it is not known here" : "the Hub does not have it");
  else
    tell(repo, name, Wrong::moved, fmt::format("it is {} now", means.get<std::string>()));
  return {};
}

Result<std::map<std::string, json>> LockCheck::load_tree(const json& repo) {
  std::map<std::string, json> tree;
  json from = 0;
  while (!from.is_null()) {
    auto page = ask(arguments_.where,
                    {{"command", "files"}, {"repo", repo.at("repo")}, {"commit", repo.at("commit")},
                     {"ask", !arguments_.offline && from == 0}, {"from", from}},
                    kLongAnswer);
    if (!page) return fail(page);
    for (json& file : page->at("files")) tree.emplace(file.at("path").get<std::string>(), std::move(file));
    from = page->at("next");
  }
  return tree;
}

// What was read a moment ago gets its verdict a moment later.
Result<std::map<std::string, json>> LockCheck::load_settled(const json& repo) {
  const auto end = std::chrono::steady_clock::now() + kVerdict;
  while (true) {
    auto tree = load_tree(repo);
    if (!tree || std::chrono::steady_clock::now() > end) return tree;
    const auto settles = [&](const json& file) {
      const auto found = tree->find(file.at("path").get<std::string>());
      return found != tree->end() && !found->second.at("verified").get<bool>() &&
             found->second.at("here") == found->second.at("size");
    };
    if (std::ranges::none_of(repo.at("files"), settles)) return tree;
    std::this_thread::sleep_for(kPause);
  }
}

Result<void> LockCheck::fetch(const json& repo, const json& file) {
  if (mount_point_.empty()) {
    auto status = ask(arguments_.where, {{"command", "status"}});
    if (!status) return fail(status);
    mount_point_ = status->at("mount_point").get<std::string>();
  }
  const std::string path =
      fmt::format("{}/{}/snapshots/{}/{}", mount_point_,
                  RepoId::parse_user(repo.at("repo").get<std::string>())->layout(),
                  repo.at("commit").get<std::string>(), file.at("path").get<std::string>());
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(system_error(errno, path));
  std::vector<char> piece(std::size_t{1} << 20);
  const auto size = file.at("size").get<std::uint64_t>();
  for (std::uint64_t done = 0; done < size;) {
    const ssize_t count = ::read(fd.get(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(system_error(errno, path));
    if (count == 0) return fail(Code::corrupt, "{} ends at byte {}", path, done);
    done += static_cast<std::uint64_t>(count);
    progress_.show("fetching", 0, 1, done, size);
  }
  return {};
}

Result<void> LockCheck::check_files(const json& repo) {
  auto tree = load_settled(repo);
  if (!tree) {
    const Code code = tree.error().code;
    if (code != Code::not_found && code != Code::offline && !info(code).retry_helps) return fail(tree);
    tell(repo, "commit", code == Code::not_found ? Wrong::gone : Wrong::unknown, tree.error().message);
    return {};
  }
  for (const json& file : repo.at("files")) {
    report_["files"] = report_["files"].get<std::uint64_t>() + 1;
    const std::string path = file.at("path");
    const auto found = tree->find(path);
    if (found == tree->end()) {
      tell(repo, path, Wrong::gone, "the commit has no such file");
      continue;
    }
    const json& now = found->second;
    if (now.at("hash") != file.at("hash") || now.at("size") != file.at("size")) {
      tell(repo, path, Wrong::hash,
           fmt::format("it is {} of {} bytes, and the lock says {} of {}", now.at("hash").get<std::string>(),
                       now.at("size").get<std::uint64_t>(), file.at("hash").get<std::string>(),
                       file.at("size").get<std::uint64_t>()));
      continue;
    }
    if (now.at("verified").get<bool>()) continue;
    Result<void> fetched = fail(Code::io, "{} of {} are here", bytes_text(now.at("here").get<std::uint64_t>()),
                                bytes_text(file.at("size").get<std::uint64_t>()));
    if (arguments_.fetch) fetched = fetch(repo, file);
    if (!fetched) tell(repo, path, Wrong::missing, fetched.error().message);
  }
  return {};
}

Result<void> LockCheck::run(const json& repos) {
  for (const json& repo : repos) {
    for (const json& ref : repo.at("refs"))
      if (auto checked = check_ref(repo, ref); !checked) return checked;
    if (auto checked = check_files(repo); !checked) return checked;
  }
  progress_.clear();
  return {};
}

Result<void> LockCheck::verdict() const {
  std::string all;
  Code worst = Code::bug;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i] == 0) continue;
    if (all.empty()) worst = kKinds[i].code;
    all += fmt::format("{}{} {}", all.empty() ? "" : ", ", counts_[i], kKinds[i].name);
  }
  if (all.empty()) return {};
  return fail(worst, "{} is not so any more: {}", arguments_.lock, all);
}

Result<void> check(const CheckArguments& arguments) {
  auto repos = load_lock_file(arguments.lock);
  if (!repos) return fail(repos);
  LockCheck check(arguments);
  if (auto done = check.run(*repos); !done) return done;
  const json& report = check.report();
  if (arguments.json) {
    fmt::print("{}\n", pretty_json(report));
  } else {
    for (const json& each : report.at("problems"))
      fmt::print("{:<8} {}@{}: {}: {}\n", text_in(each, "problem"), text_in(each, "repo"), text_in(each, "commit").substr(0, 12),
                 text_in(each, "what"), text_in(each, "reason"));
    fmt::print("{} files checked\n", report.at("files").get<std::uint64_t>());
  }
  return check.verdict();
}

}  // namespace

void add_check(CommandTable& table) {
  auto words = std::make_shared<CheckArguments>();
  auto* command = table.add("check", "Compare a lock file with what is so now", kCheckHelp,
                            [words] { return check(*words); });
  command->add_option("LOCK", words->lock, "What `hffs lock` has written")->required();
  auto* fetch = command->add_flag("--fetch", words->fetch, "Fetch what is missing");
  command->add_flag("--offline", words->offline, "Send no request")->excludes(fetch);
  add_json(command, words->json);
  add_daemon(command, words->where);
}

}  // namespace hffs::cli
