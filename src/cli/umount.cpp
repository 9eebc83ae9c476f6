// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <optional>

#include "command_table.h"
#include "commands.h"
#include "hffs/keeper.h"
#include "shell_text.h"

namespace hffs::cli {
namespace {

constexpr const char* kUmountHelp = R"(Waits until the daemon has written everything down and gone.

Examples:
  hffs umount ~/hf
  hffs umount ~/hf --lazy                  though files are open)";


struct UmountArguments {
  std::string mount_point;
  bool lazy = false;
};

constexpr std::chrono::seconds kLastAnswer{5};
// A daemon that ends still makes durable what has arrived.
constexpr std::chrono::seconds kEnd{120};
// After a lazy unmount open files may keep it for as long as they like.
constexpr std::chrono::seconds kLazyEnd{5};

// A connection that ends with the daemon; nothing if the daemon has gone, or may not be spoken to.
std::optional<ControlClient> watch_end(const std::string& mount_point) {
  const auto socket = load_control_link(mount_point);
  if (!socket) return std::nullopt;
  auto client = ControlClient::connect(*socket);
  if (!client || !client->ask(R"({"command":"wait"})", kLastAnswer)) return std::nullopt;
  return std::move(*client);
}

Result<void> umount(const UmountArguments& arguments) {
  auto daemon = watch_end(arguments.mount_point);
  if (auto gone = unmount(arguments.mount_point, arguments.lazy); !gone) return fail(gone);
  if (!daemon) return {};
  auto ended = daemon->wait_for_end(arguments.lazy ? kLazyEnd : kEnd);
  if (ended || !arguments.lazy) return ended;
  fmt::print(stderr,
             "hffs: unmounted; the daemon ends when the files that are still open are closed\n");
  return {};
}

// That we may not end. The last that the kernel lists there is the one that is seen.
bool is_anothers(const std::string& mount_point) {
  uid_t user = ::geteuid();
  if (const auto mounts = list_mounts(); mounts && user != 0)
    for (const HffsMount& each : *mounts)
      if (each.mount_point == absolute_mount(mount_point)) user = each.user;
  return user != ::geteuid();
}

}  // namespace

Result<std::string> load_control_link(const std::string& mount_point) {
  const std::string link = mount_point + "/.hffs";
  std::array<char, PATH_MAX> target;
  const ssize_t size = ::readlink(link.c_str(), target.data(), target.size());
  if (size > 0) return std::string(target.data(), static_cast<std::size_t>(size));
  if (errno == ENOTCONN)
    return fail(Code::unreachable, "the daemon of {} has died; {} {}", mount_point,
                is_anothers(mount_point) ? "root cleans up with: sudo" : "mount there again, or clean up with:",
                command_line({"hffs", "umount", mount_point}));
  return fail(Code::not_found,
              "no hffs is mounted at {}; `findmnt -t fuse.hffs` lists those that are", mount_point);
}

void add_umount(CommandTable& table) {
  auto words = std::make_shared<UmountArguments>();
  auto* command = table.add("umount", "End a mount, and its daemon", kUmountHelp, [words] { return umount(*words); });
  command->add_option("MNT", words->mount_point, "Where hffs is mounted")->required();
  command->add_flag("--lazy,-z", words->lazy, "Detach now, though files are open");
}

}  // namespace hffs::cli
