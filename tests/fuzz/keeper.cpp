// SPDX-License-Identifier: Apache-2.0
//
// A hostile worker, which must not hurt its keeper: the real loop, and processes that say what the input has
// (keeper_worker.cpp). An input is steps: a letter, and what it takes. 'm': a message (kind, code, number, length, text);
// 'd': one with a descriptor; 'r': bytes (length, bytes); 'e': the end, with a status; 'k', 'c', 'h': killed, deaf, hearing.
// There is no directory to be mounted on. Nobody's token is looked for: that would start processes.
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "channel.h"
#include "fuzz.h"
#include "hffs/keeper.h"

using namespace hffs;

FUZZ_QUIET()

namespace {

// Each end but the last costs a start, and a crowd of them a pause.
constexpr int kMostEnds = 2;
constexpr int kMostSteps = 60;

std::string program() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "fuzz_keeper_worker";
}

std::string message_from(fuzz::Input& input) {
  const auto say = static_cast<std::uint32_t>(input.byte() % 16);
  const std::int32_t code = input.number<std::int8_t>();
  std::int32_t number = input.number<std::int16_t>();
  if (say == static_cast<std::uint32_t>(keeper::Say::read_token)) number = number % 2 == 0 ? 0 : -1;
  std::string bytes;
  for (const std::uint32_t word : {say, static_cast<std::uint32_t>(code), static_cast<std::uint32_t>(number)})
    bytes.append(reinterpret_cast<const char*>(&word), sizeof(word));
  const std::size_t length = input.byte();
  return bytes.append(input.take(length == 255 ? 4'000 : length));
}

std::string script_from(fuzz::Input input) {
  std::string script;
  const auto step = [&](char what, std::uint8_t code, std::string_view bytes) {
    const auto size = static_cast<std::uint16_t>(bytes.size());
    script += what;
    script += static_cast<char>(code);
    script.append(reinterpret_cast<const char*>(&size), sizeof(size)).append(bytes);
  };
  int ends = 0;
  for (int steps = 0; !input.empty() && steps < kMostSteps; ++steps) {
    const std::uint8_t letter = input.byte();
    switch (letter) {
      case 'm': step('s', 0, message_from(input)); break;
      case 'd': step('d', 0, message_from(input)); break;
      case 'r': {
        std::string bytes(input.take(input.byte()));
        // Whose token is asked for is seen to here, too.
        if (bytes.size() >= 12 && bytes[0] == static_cast<char>(keeper::Say::read_token)) std::memset(&bytes[8], 0, 4);
        step('s', 0, bytes);
        break;
      }
      case 'k': step(++ends <= kMostEnds ? 'k' : 'e', 0, {}); break;
      case 'e': {
        const std::uint8_t status = input.byte();
        step('e', ++ends <= kMostEnds ? status : 0, {});
        break;
      }
      case 'c':
      case 'h': step(static_cast<char>(letter), 0, {}); break;
      default: break;
    }
  }
  return script;
}

// What the service manager heard: one assignment a line, and of each no more than one.
class Manager {
 public:
  Manager() : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    name_ = fmt::format("@hffs-fuzz-{}", ::getpid());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name_.data() + 1, name_.size() - 1);
    MUST(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address),
                static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size())) == 0);
  }
  void invite() const { ::setenv("NOTIFY_SOCKET", name_.c_str(), 1); }
  void look() const {
    char datagram[8'192];
    for (ssize_t size; (size = ::recv(socket_.get(), datagram, sizeof(datagram), 0)) >= 0;) {
      fuzz::Input heard(reinterpret_cast<const std::uint8_t*>(datagram), static_cast<std::size_t>(size));
      int statuses = 0;
      while (!heard.empty()) {
        const auto line = heard.line();
        const bool status = line.starts_with("STATUS=");
        statuses += status;
        MUST(status || line == "READY=1" || line == "STOPPING=1" || line == "RELOADING=1" || line.starts_with("MONOTONIC_USEC="));
        MUST(std::ranges::none_of(line, [](unsigned char c) { return c < 0x20 || c == 0x7f; }));
      }
      MUST(statuses <= 1);
    }
  }

 private:
  UniqueFd socket_;
  std::string name_;
};

std::size_t descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// Children, living or dead, that are called like a worker. (libFuzzer has one of its own.)
int workers_left() {
  int left = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != name.npos) continue;
    std::string line;
    std::getline(std::ifstream(entry.path() / "stat"), line);  // PID (NAME) STATE PARENT …
    const std::size_t end = line.rfind(')');
    if (end == line.npos || std::atoi(line.c_str() + std::min(end + 4, line.size())) != ::getpid()) continue;
    left += line.find("(fuzz_keeper") != line.npos || line.find("(exe)") != line.npos;
  }
  return left;
}

}  // namespace

FUZZ_TARGET(input) {
  static const Manager manager;
  manager.invite();
  const std::string script = script_from(input);
  sigset_t before;
  ::sigprocmask(SIG_SETMASK, nullptr, &before);
  const std::size_t open = descriptors();
  {
    UniqueFd steps(::memfd_create("steps", MFD_CLOEXEC));
    MUST(::write(steps.get(), script.data(), script.size()) == static_cast<ssize_t>(script.size()));
    MUST(::lseek(steps.get(), 0, SEEK_SET) == 0);
    int ready = 0;
    KeeperOptions options;
    options.mount = {.mount_point = "/nonexistent/hffs", .blobs = "/nonexistent/blobs"};
    options.worker = {program(), std::to_string(steps.get())};
    options.inherited = steps.get();
    options.ready = [&] { ++ready; };
    options.service = true;
    const auto ended = run_keeper(options);
    MUST(ready <= 1);
    // Who came to serve leaves no failure of the start.
    MUST(ready == 0 || ended);
    MUST(ended || !ended.error().message.empty());
  }
  MUST(descriptors() == open);
  MUST(workers_left() == 0);
  manager.look();
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
}
