// SPDX-License-Identifier: Apache-2.0
//
// Requests as the kernel sends them, through libfuse's session into the adapter and the whole file system. An input is
// requests, one after the other: a byte for the operation, one for the node (one that an answer has named, or 255 and
// eight bytes), one for who asks and whether its answer is waited for, and what the operation takes. Each input's users
// are new: nothing of another one's overlay is seen.
#include <linux/fuse.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <map>

#include "hffs/activity.h"
#include "idle_keeper.h"
#include "world.h"

using namespace hffs;

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  fuzz::be_quiet();
  fuzz::use_memory_disk();
  return 0;
}

namespace {

constexpr int kInputsOfAWorld = 200;
constexpr std::uint32_t kPassthrough = 1u << (37 - 32);  // FUSE_PASSTHROUGH, in flags2

class BackingKeeper final : public test::IdleKeeper {
 public:
  Result<void> may_back() override { return {}; }
  // The kernel refuses another one while the node is open; ids are closed once.
  Result<std::int32_t> open_backing(const BlobId&) override {
    ++open;
    return ++last_;
  }
  void close_backing(std::int32_t id) override {
    MUST(id > 0 && id <= last_ && open > 0);
    --open;
  }
  std::atomic<int> open = 0;

 private:
  std::atomic<std::int32_t> last_ = 0;
};

constexpr std::array<std::string_view, 27> kNames{
    "models--acme--tiny", "snapshots", "refs", "blobs", "main", "big.bin", "small.txt", "sub", "again.bin",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "33b45cc302cfe5d5bfff9d5e62ab2b8ee86a4d773af4f1afa094b4c6b0052632",
    "68a4b0699c4c39c11300439fe60b7a2c7e1d777a", ".locks", ".no_exist", "pr", "1", "new", "dir", "x.lock", "x.incomplete",
    "tmpfile", "version.txt", "models--acme--other", ".", "..", "CACHEDIR.TAG", "trees"};
constexpr std::array kOperations{
    FUSE_LOOKUP, FUSE_FORGET, FUSE_GETATTR, FUSE_SETATTR, FUSE_READLINK, FUSE_SYMLINK, FUSE_MKNOD, FUSE_MKDIR, FUSE_UNLINK,
    FUSE_RMDIR, FUSE_RENAME, FUSE_LINK, FUSE_OPEN, FUSE_READ, FUSE_WRITE, FUSE_STATFS, FUSE_RELEASE, FUSE_FSYNC,
    FUSE_GETXATTR, FUSE_FLUSH, FUSE_OPENDIR, FUSE_READDIR, FUSE_RELEASEDIR, FUSE_FSYNCDIR, FUSE_ACCESS, FUSE_CREATE,
    FUSE_INTERRUPT, FUSE_BATCH_FORGET, FUSE_READDIRPLUS, FUSE_RENAME2, FUSE_LSEEK, FUSE_FALLOCATE, FUSE_IOCTL};

bool is_answered(std::uint32_t opcode) {
  return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

class Kernel final : public fuzz::World {
 public:
  Kernel() {
    int ends[2];
    MUST(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    kernel_ = UniqueFd(ends[0]);
    fuse_init_in init{.major = FUSE_KERNEL_VERSION, .minor = 38, .max_readahead = 64u << 20};
    init.flags = ~std::uint32_t{0};
    init.flags2 = kPassthrough;
    send(FUSE_INIT, 0, bytes_of(init));
    auto server = FuseServer::start({.threads = 2}, *files_, keeper_, UniqueFd(ends[1]), *handover_, metrics_, activity_);
    MUST(server);
    server_ = std::move(*server);
    receive();
    MUST(waiting_.empty());
  }
  ~Kernel() override { server_.reset(); }

  void run(fuzz::Input input);

 private:
  struct Waiting {
    std::uint32_t opcode = 0;
    std::uint64_t node = 0;
    std::size_t size = 0;      // asked for, or written
    std::uint64_t offset = 0;
  };
  struct OpenFile {
    std::uint64_t node = 0, handle = 0;
    std::uint32_t flags = 0;
  };

  template <class T>
  static std::string bytes_of(const T& value) {
    return {reinterpret_cast<const char*>(&value), sizeof(value)};
  }
  static std::string name_from(fuzz::Input& input) {
    const std::uint8_t which = input.byte();
    std::string name;
    if (which < 200) name = kNames[which % kNames.size()];
    else name = std::string(input.line().substr(0, 1'024));
    // The kernel sends no other ones.
    std::erase_if(name, [](char c) { return c == '/' || c == '\0'; });
    return (name.empty() ? "x" : name) + '\0';
  }
  std::uint64_t node_from(fuzz::Input& input) {
    const std::uint8_t which = input.byte();
    return which == 255 ? input.number<std::uint64_t>() : nodes_[which % nodes_.size()];
  }
  OpenFile file_from(fuzz::Input& input) {
    const std::uint8_t which = input.byte();
    if (!open_.empty() && which < 250) return open_[which % open_.size()];
    return {nodes_[which % nodes_.size()], input.byte(), input.byte()};
  }
  // Small ones, and where blocks and files end.
  static std::uint64_t offset_from(fuzz::Input& input) {
    const auto value = input.number<std::uint16_t>();
    if (value < 0xC000) return value;
    if (value < 0xF000) return (value - 0xC000ull) * 0x1000;
    return test::kBigSize + value - 0xF800ull;
  }

  void request(fuzz::Input& input);
  std::string body_of(fuse_opcode opcode, fuzz::Input& input, std::uint64_t& node, Waiting& waiting);
  std::uint64_t send(std::uint32_t opcode, std::uint64_t node, const std::string& body, const Waiting& waiting);
  std::uint64_t send(std::uint32_t opcode, std::uint64_t node, const std::string& body) {
    return send(opcode, node, body, Waiting{.opcode = opcode});
  }
  void receive();
  void look_at(const Waiting& asked, std::string_view body);
  void look_at_entry(std::string_view body);
  static void look_at_items(const Waiting& asked, std::string_view body);
  static void look_at_bytes(const Waiting& asked, std::string_view body);
  void wait_until(std::size_t waiting) {
    while (waiting_.size() > waiting) receive();
  }

  Activity activity_{system_clock()};
  BackingKeeper keeper_;
  UniqueFd kernel_;
  std::unique_ptr<FuseServer> server_;
  std::uint64_t next_ = 0;
  uid_t users_ = 10'000;
  uid_t user_ = 0;
  std::map<std::uint64_t, Waiting> waiting_;
  std::vector<std::uint64_t> nodes_;
  std::vector<OpenFile> open_;
};

std::uint64_t Kernel::send(std::uint32_t opcode, std::uint64_t node, const std::string& body, const Waiting& waiting) {
  fuse_in_header header{};
  header.len = static_cast<std::uint32_t>(sizeof(header) + body.size());
  header.opcode = opcode;
  // An interrupt has the number of what it interrupts, and its lowest bit.
  header.unique = opcode == FUSE_INTERRUPT ? waiting.offset | 1 : next_ += 2;
  header.nodeid = node;
  header.uid = header.gid = user_;
  header.pid = static_cast<std::uint32_t>(::getpid());
  const std::string message = bytes_of(header) + body;
  MUST(::send(kernel_.get(), message.data(), message.size(), 0) == static_cast<ssize_t>(message.size()));
  if (is_answered(opcode)) waiting_[header.unique] = waiting;
  return header.unique;
}

// Each request has one answer, whole, and nobody else has.
void Kernel::receive() {
  pollfd end{kernel_.get(), POLLIN, 0};
  const int comes = ::poll(&end, 1, std::chrono::milliseconds(fuzz::kPatience).count());
  if (comes != 1) fuzz::tell_threads();
  MUST(comes == 1);
  static std::vector<char> room((1 << 20) + 4'096);
  const ssize_t size = ::recv(kernel_.get(), room.data(), room.size(), MSG_DONTWAIT);
  fuse_out_header header{};
  MUST(size >= static_cast<ssize_t>(sizeof(header)));
  std::memcpy(&header, room.data(), sizeof(header));
  MUST(header.len == static_cast<std::size_t>(size));
  if (header.unique == 0) return;  // a notification
  // libfuse sends an interrupt back that came before what it interrupts.
  if ((header.unique & 1) != 0) return MUST(header.error == -EAGAIN);
  const auto asked = waiting_.find(header.unique);
  MUST(asked != waiting_.end());
  const Waiting about = asked->second;
  waiting_.erase(asked);
  MUST(header.error <= 0 && header.error > -1'000);
  const std::string_view body(room.data() + sizeof(header), static_cast<std::size_t>(size) - sizeof(header));
  if (header.error != 0) return MUST(body.empty());
  look_at(about, body);
}

void Kernel::look_at_entry(std::string_view body) {
  fuse_entry_out entry;
  MUST(body.size() >= sizeof(entry));
  std::memcpy(&entry, body.data(), sizeof(entry));
  if (entry.nodeid == 0) return;
  MUST(entry.attr.ino != 0 && (S_ISREG(entry.attr.mode) || S_ISDIR(entry.attr.mode) || S_ISLNK(entry.attr.mode)));
  MUST(entry.attr.nlink > 0 && entry.attr_valid_nsec < 1'000'000'000 && entry.entry_valid_nsec < 1'000'000'000);
  if (std::ranges::find(nodes_, entry.nodeid) == nodes_.end()) nodes_.push_back(entry.nodeid);
}

void Kernel::look_at_items(const Waiting& asked, std::string_view body) {
  MUST(body.size() <= asked.size);
  while (!body.empty()) {
    fuse_dirent item;
    MUST(body.size() >= FUSE_NAME_OFFSET);
    std::memcpy(&item, body.data(), FUSE_NAME_OFFSET);
    MUST(item.namelen > 0 && FUSE_NAME_OFFSET + item.namelen <= body.size());
    const auto name = body.substr(FUSE_NAME_OFFSET, item.namelen);
    MUST(name.size() <= 255 && name.find('/') == name.npos && name.find('\0') == name.npos);
    MUST(item.ino != 0 && item.off != 0);
    body.remove_prefix(std::min<std::size_t>(body.size(), FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + item.namelen)));
  }
}

// What has a content's name has that content.
void Kernel::look_at_bytes(const Waiting& asked, std::string_view body) {
  MUST(body.size() <= asked.size);
  if (NodeId{asked.node}.kind() != NodeKind::blob) return;
  static const std::string big = test::pattern();
  const auto is_of = [&](std::string_view whole) {
    return asked.offset >= whole.size() ? body.empty() : whole.substr(asked.offset, asked.size) == body;
  };
  MUST(is_of(big) || is_of(test::kSmallText));
}

void Kernel::look_at(const Waiting& asked, std::string_view body) {
  switch (asked.opcode) {
    case FUSE_LOOKUP:
    case FUSE_MKDIR:
    case FUSE_SYMLINK: return look_at_entry(body);
    case FUSE_CREATE:
    case FUSE_OPEN: {
      std::uint64_t node = asked.node;
      if (asked.opcode == FUSE_CREATE) {
        look_at_entry(body);
        std::memcpy(&node, body.data(), sizeof(node));
        body.remove_prefix(sizeof(fuse_entry_out));
      }
      fuse_open_out opened;
      MUST(body.size() == sizeof(opened) && node != 0);
      std::memcpy(&opened, body.data(), sizeof(opened));
      open_.push_back({node, opened.fh, static_cast<std::uint32_t>(asked.size)});
      return;
    }
    case FUSE_GETATTR:
    case FUSE_SETATTR: return MUST(body.size() == sizeof(fuse_attr_out));
    case FUSE_READLINK: return MUST(!body.empty() && body.size() < 4'096 && body.find('\0') == body.npos);
    case FUSE_READDIR: return look_at_items(asked, body);
    case FUSE_READ: return look_at_bytes(asked, body);
    case FUSE_WRITE: {
      fuse_write_out written;
      MUST(body.size() == sizeof(written));
      std::memcpy(&written, body.data(), sizeof(written));
      return MUST(written.size <= asked.size);
    }
    default: return;
  }
}

// What the operation's structure holds, as long as the kernel makes it.
std::string Kernel::body_of(fuse_opcode opcode, fuzz::Input& input, std::uint64_t& node, Waiting& waiting) {
  switch (opcode) {
    case FUSE_LOOKUP:
    case FUSE_UNLINK:
    case FUSE_RMDIR: return name_from(input);
    case FUSE_FORGET: return bytes_of(fuse_forget_in{.nlookup = input.byte()});
    case FUSE_GETATTR: return bytes_of(fuse_getattr_in{.getattr_flags = input.byte()});
    case FUSE_SETATTR: {
      fuse_setattr_in asked{.valid = input.number<std::uint16_t>()};
      asked.size = input.byte() < 128 ? offset_from(input) : input.number<std::uint64_t>();
      asked.mode = S_IFREG | input.number<std::uint16_t>();
      asked.mtime = input.number<std::uint64_t>(), asked.mtimensec = input.number<std::uint32_t>() % 1'000'000'000;
      asked.uid = asked.gid = user_;
      return bytes_of(asked);
    }
    case FUSE_SYMLINK: return name_from(input) + std::string(input.line().substr(0, 4'095)) + '\0';
    case FUSE_MKNOD: return bytes_of(fuse_mknod_in{.mode = input.number<std::uint16_t>()}) + name_from(input);
    case FUSE_MKDIR: return bytes_of(fuse_mkdir_in{.mode = input.number<std::uint16_t>()}) + name_from(input);
    case FUSE_RENAME: {
      const std::string to = bytes_of(fuse_rename_in{.newdir = node_from(input)}), from = name_from(input);
      return to + from + name_from(input);
    }
    case FUSE_RENAME2: {
      fuse_rename2_in asked{.newdir = node_from(input)};
      asked.flags = input.byte() % 8;
      const std::string from = name_from(input);
      return bytes_of(asked) + from + name_from(input);
    }
    case FUSE_LINK: return bytes_of(fuse_link_in{.oldnodeid = node_from(input)}) + name_from(input);
    case FUSE_OPEN: {
      const fuse_open_in asked{.flags = input.number<std::uint16_t>()};
      waiting.size = asked.flags;
      return bytes_of(asked);
    }
    case FUSE_CREATE: {
      fuse_create_in asked{.flags = input.number<std::uint16_t>()};
      asked.mode = S_IFREG | (input.number<std::uint16_t>() & 07777);
      waiting.size = asked.flags;
      return bytes_of(asked) + name_from(input);
    }
    case FUSE_READ:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS: {
      fuse_read_in asked{};
      if (opcode == FUSE_READ) {
        const auto file = file_from(input);
        node = file.node, asked.fh = file.handle, asked.flags = file.flags;
      }
      asked.offset = input.byte() < 240 ? offset_from(input) : input.number<std::uint64_t>() >> 1;
      asked.size = input.number<std::uint16_t>() * 2u;  // more does not go through a socket at once
      waiting.size = asked.size, waiting.offset = asked.offset;
      return bytes_of(asked);
    }
    case FUSE_WRITE: {
      const auto file = file_from(input);
      node = file.node;
      fuse_write_in asked{.fh = file.handle};
      asked.offset = input.byte() < 240 ? offset_from(input) : input.number<std::uint64_t>() >> 1;
      asked.flags = file.flags;
      std::string bytes(input.take(input.byte()));
      asked.size = static_cast<std::uint32_t>(bytes.size());
      waiting.size = asked.size;
      return bytes_of(asked) + bytes;
    }
    case FUSE_RELEASE: {
      // The kernel closes what is open, once.
      if (open_.empty()) return {};
      const auto which = open_.begin() + input.byte() % static_cast<int>(open_.size());
      node = which->node;
      const fuse_release_in asked{.fh = which->handle, .flags = which->flags};
      open_.erase(which);
      return bytes_of(asked);
    }
    case FUSE_INTERRUPT:
      // Of one that waits, or of one that has been answered a moment ago.
      waiting.offset = waiting_.empty() ? next_ : waiting_.begin()->first;
      return bytes_of(fuse_interrupt_in{.unique = waiting.offset});
    case FUSE_BATCH_FORGET: {
      std::string items = bytes_of(fuse_batch_forget_in{.count = 2});
      for (int i = 0; i < 2; ++i) items += bytes_of(fuse_forget_one{.nodeid = node_from(input), .nlookup = 1});
      return items;
    }
    case FUSE_STATFS: return {};
    case FUSE_GETXATTR: return bytes_of(fuse_getxattr_in{.size = input.byte()}) + name_from(input);
    case FUSE_IOCTL: return bytes_of(fuse_ioctl_in{.cmd = input.byte()});
    default: return std::string(64, '\0');  // of others all that libfuse looks at is there
  }
}

void Kernel::request(fuzz::Input& input) {
  const fuse_opcode opcode = kOperations[input.byte() % kOperations.size()];
  Waiting waiting{.opcode = opcode};
  std::uint64_t node = node_from(input);
  const std::uint8_t how = input.byte();
  user_ = (how & 3) == 3 ? 0 : users_ + (how & 1);
  const std::string body = body_of(opcode, input, node, waiting);
  if (opcode == FUSE_RELEASE && body.empty()) return;
  waiting.node = node;
  send(opcode, node, body, waiting);
  // Some are asked while others wait.
  wait_until((how & 0x80) != 0 ? 8 : 0);
}

void Kernel::run(fuzz::Input input) {
  users_ += 2;
  nodes_ = {1};
  open_.clear();
  for (int requests = 0; !input.empty() && requests < 200; ++requests) request(input);
  wait_until(0);
  for (const OpenFile& file : open_) send(FUSE_RELEASE, file.node, bytes_of(fuse_release_in{.fh = file.handle, .flags = file.flags}));
  wait_until(0);
  MUST(keeper_.open == 0);
  // And no second answer.
  user_ = 0;
  send(FUSE_STATFS, 1, {});
  wait_until(0);
  pollfd end{kernel_.get(), POLLIN, 0};
  MUST(::poll(&end, 1, 0) == 0);
}

}  // namespace

FUZZ_TARGET(input) { fuzz::world_for_input<Kernel>(kInputsOfAWorld).run(input); }
