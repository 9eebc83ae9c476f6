// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <pwd.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <map>
#include <optional>
#include <sstream>
#include <thread>

#include "bars.h"
#include "command_table.h"
#include "commands.h"
#include "hffs/json_text.h"
#include "progress.h"

namespace hffs::cli {
namespace {

using nlohmann::json;

constexpr const char* kTopHelp = R"(Who reads what just now, who waits, what is fetched, from where, and what went wrong: each second anew. q ends it. You
see your own programs; root sees everybody's. Without a terminal one look is printed.

Examples:
  hffs top
  hffs top ~/hf --delay 5
  hffs top --once --json | jq '.readers[] | select(.waiting_ms != null)')";

struct TopArguments {
  std::string mount_point;
  double delay = 1;
  bool once = false, json = false;
  Flags flags;
};

// Rates come from two looks.
struct Look {
  json answer;
  std::chrono::steady_clock::time_point when;
};

using ReaderKey = std::tuple<std::int64_t, std::string, std::string>;

ReaderKey key_of(const json& reader) {
  return {reader.at("pid").get<std::int64_t>(), text_in(reader, "repo"), text_in(reader, "path")};
}

double since(const Look& before, const Look& now) {
  return std::max(0.001, std::chrono::duration<double>(now.when - before.when).count());
}

std::string per_second(std::uint64_t before, std::uint64_t now, double time) {
  if (now <= before) return "-";
  return bytes_text(static_cast<std::uint64_t>(static_cast<double>(now - before) / time)) + "/s";
}

std::uint64_t metric(const Look& look, const char* name) {
  return look.answer.at("now").at("metrics").at(name).get<std::uint64_t>();
}

std::string user_name(uid_t uid) {
  const passwd* user = ::getpwuid(uid);
  return user != nullptr ? user->pw_name : std::to_string(uid);
}

std::string head(const Look& before, const Look& now) {
  const json& state = now.answer.at("now");
  const double time = since(before, now);
  const auto rate = [&](const char* name) { return per_second(metric(before, name), metric(now, name), time); };
  // A daemon that was restarted begins at nothing.
  const auto more = [&](const char* name) { return metric(now, name) - std::min(metric(now, name), metric(before, name)); };
  const std::uint64_t reads = more("fuse_reads"), waited = more("reads_parked");
  std::string text = fmt::format("{}  {}\n", text_in(state, "mount_point"), text_in(state, "version"));
  for (const json& endpoint : state.at("endpoints"))
    text += fmt::format("endpoint  {} {}{}{}\n", text_in(endpoint, "endpoint"), endpoint.at("up").get<bool>() ? "up" : "DOWN",
                        text_in(endpoint, "last_error").empty() ? "" : ": ", text_in(endpoint, "last_error"));
  if (state.at("offline").get<bool>()) text += "network   off: offline mode\n";
  // What the kernel reads by itself, by passthrough and from its pages, is hit too; it is seen nowhere.
  std::string hits = "-";
  if (reads != 0) hits = fmt::format("{} %", 100 * (reads - std::min(reads, waited)) / reads);
  text += fmt::format("network   {} in {} requests; {} buffered\n", rate("content_bytes"),
                      state.at("transfer").at("requests").get<std::uint64_t>(),
                      bytes_text(state.at("transfer").at("buffered_bytes").get<std::uint64_t>()));
  text += fmt::format("readers   {} through the daemon, {} of the reads from here at once; {} wait\n", rate("fuse_read_bytes"), hits,
                      state.at("transfer").at("waiters").get<std::uint64_t>());
  const json& store = state.at("store");
  text += fmt::format("disk      {} in {} blobs{}; {} free\n", bytes_text(store.at("bytes").get<std::uint64_t>()),
                      store.at("blobs").get<std::uint64_t>(),
                      store.at("max_size").get<std::uint64_t>() == 0 ? "" : " of " + bytes_text(store.at("max_size").get<std::uint64_t>()),
                      bytes_text(store.at("free_bytes").get<std::uint64_t>()));
  return text;
}

std::vector<std::string> body(const Look& before, const Look& now, std::size_t columns) {
  std::map<ReaderKey, std::uint64_t> last;
  for (const json& reader : before.answer.at("readers")) last[key_of(reader)] = reader.at("bytes").get<std::uint64_t>();
  // On a narrow screen the file's name is worth more than how it is read.
  const bool roomy = columns > 100;
  const std::size_t fixed = roomy ? 73 : 61, name = columns > fixed + 16 ? columns - fixed : 16;
  const auto how = [&](const std::string& text) { return roomy ? fmt::format("{:<11} ", text) : std::string(); };
  std::vector<std::string> rows;
  for (const json& job : now.answer.at("prefetches"))
    if (job.at("running").get<bool>())
      rows.push_back(fmt::format("prefetch {} {} {} of {} files, {} of {}", text_in(job, "repo"),
                                 bar_text(job.at("bytes_done").get<std::uint64_t>(), job.at("bytes").get<std::uint64_t>(), 22),
                                 job.at("files_done").get<std::uint64_t>(), job.at("files").get<std::uint64_t>(),
                                 bytes_text(job.at("bytes_done").get<std::uint64_t>()), bytes_text(job.at("bytes").get<std::uint64_t>())));
  rows.push_back(fmt::format("{:>8} {:<9} {:<12} {:>11} {:>5} {}{:<8}  {}", "PID", "USER", "PROGRAM", "RATE", "HERE", how("HOW"), "WAITS", "FILE"));
  for (const json& reader : now.answer.at("readers")) {
    const auto size = reader.at("size").get<std::uint64_t>();
    const auto found = last.find(key_of(reader));
    const auto bytes = reader.at("bytes").get<std::uint64_t>();
    rows.push_back(fmt::format(
        "{:>8} {:<9.9} {:<12.12} {:>11} {:>3} % {}{:<8}  {}", reader.at("pid").get<std::int64_t>(),
        user_name(reader.at("uid").get<uid_t>()), text_in(reader, "comm"),
        found == last.end() ? "-" : per_second(found->second, bytes, since(before, now)),
        size == 0 ? 100 : 100 * reader.at("here").get<std::uint64_t>() / size, how(text_in(reader, "mode")),
        reader.at("waiting_ms").is_number() ? fmt::format("{:.1f} s", reader.at("waiting_ms").get<double>() / 1'000) : "",
        fitted(fmt::format("{} {}", text_in(reader, "repo"), text_in(reader, "path")), name)));
  }
  for (const json& failure : now.answer.at("failures"))
    rows.push_back(fmt::format("failed: {} of {} by {} ({}): {}", text_in(failure, "operation"), text_in(failure, "what"),
                               text_in(failure, "comm"), user_name(failure.at("uid").get<uid_t>()), text_in(failure, "message")));
  return rows;
}

// The terminal as it was, whatever happens.
class Screen {
 public:
  Screen() {
    ::tcgetattr(STDIN_FILENO, &before_);
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON);
    ::tcsetattr(STDIN_FILENO, TCSANOW, &silent);
    fmt::print("\033[?1049h\033[?25l");
  }
  ~Screen() {
    fmt::print("\033[?25h\033[?1049l");
    std::fflush(stdout);
    ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  // False: somebody has pressed q, or closed the terminal.
  bool wait(std::chrono::milliseconds time) {
    pollfd keys{STDIN_FILENO, POLLIN, 0};
    if (::poll(&keys, 1, static_cast<int>(time.count())) <= 0) return true;
    char key = 0;
    return ::read(STDIN_FILENO, &key, 1) == 1 && key != 'q' && key != 'Q' && key != '\003';
  }

 private:
  termios before_{};
};

volatile std::sig_atomic_t quit = 0;

Result<Look> look(const DaemonName& where) {
  auto answer = ask(where, {{"command", "activity"}});
  if (!answer) return fail(answer);
  return Look{std::move(*answer), std::chrono::steady_clock::now()};
}

Result<void> top(const TopArguments& words) {
  const DaemonName where{words.mount_point, words.flags};
  if (!(words.delay >= 0.1 && words.delay <= 3'600)) return fail(Code::invalid, "--delay is seconds, from 0.1 to 3600");
  const std::chrono::milliseconds delay(static_cast<std::int64_t>(words.delay * 1'000));
  auto before = look(where);
  if (!before) return fail(before);
  const bool live = !words.once && !words.json && ::isatty(STDOUT_FILENO) == 1 && ::isatty(STDIN_FILENO) == 1;
  if (words.json) {
    fmt::print("{}\n", pretty_json(before->answer));
    return {};
  }
  if (!live) {
    std::this_thread::sleep_for(delay);
    auto now = look(where);
    if (!now) return fail(now);
    fmt::print("{}\n", head(*before, *now));
    for (const std::string& row : body(*before, *now, 160)) fmt::print("{}\n", row);
    return {};
  }
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::signal(number, [](int) { quit = 1; });
  Screen screen;
  std::optional<Look> last = std::move(*before);
  std::string trouble;
  while (quit == 0 && screen.wait(last ? delay : std::min(delay, std::chrono::milliseconds(1'000)))) {
    auto now = look(where);
    if (!now) {  // it may be restarted
      fmt::print("\033[H\033[2J{}\n", now.error().message);
      std::fflush(stdout);
      continue;
    }
    const auto [columns, rows] = terminal_size(STDOUT_FILENO);
    std::string frame;
    std::size_t lines = 0;
    const auto add = [&, columns = columns, rows = rows](const std::string& line) {
      if (++lines < rows) frame += cut(line, columns) + "\n";
    };
    std::istringstream above(head(*last, *now) + "\n");
    for (std::string line; std::getline(above, line);) add(line);
    for (const std::string& row : body(*last, *now, columns)) add(row);
    fmt::print("\033[H\033[2J{}", frame);
    std::fflush(stdout);
    last = std::move(*now);
  }
  return {};
}

}  // namespace

void add_top(CommandTable& table) {
  auto words = std::make_shared<TopArguments>();
  auto* command = table.add("top", "Watch readers, transfers and troubles", kTopHelp, [words] { return top(*words); });
  command->add_option("MNT", words->mount_point, "Where hffs is mounted");
  command->add_option("--delay", words->delay, "Between two looks [1]")->type_name("SECONDS");
  command->add_flag("--once", words->once, "Print one look, and end");
  add_json(command, words->json);
  add_state_dir(command, words->flags);
}

}  // namespace hffs::cli
