// SPDX-License-Identifier: Apache-2.0
//
// The FUSE adapter spoken to as the kernel speaks, over a socket pair: what is negotiated, that each
// request is answered exactly once, interrupts in both orders, and the end of a session.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>

#include "handover.h"
#include "hffs/activity.h"
#include "hffs/filesystem.h"
#include "idle_keeper.h"

namespace hffs {
namespace {

const NodeId kWholeBlob = NodeId::of_blob(77, 1);

class FakeKeeper final : public test::IdleKeeper {
 public:
  Result<void> may_back() override {
    if (capable) return {};
    return fail(Code::denied, "no capability");
  }
  Result<std::int32_t> open_backing(const BlobId&) override {
    if (refusal) return fail(*refusal);
    ++open;
    return ++last_id;
  }
  void close_backing(std::int32_t id) override {
    EXPECT_EQ(id, last_id);
    --open;
  }

  bool capable = true;
  std::optional<Error> refusal;
  std::atomic<int> open = 0;
  std::atomic<std::int32_t> last_id = 0;
};

// Answers names by what they are called; keeps reads until they are stopped.
class FakeFiles final : public FileSystem {
 public:
  void lookup(const Caller&, NodeId, std::string_view name, std::stop_token,
              Done<Entry> done) override {
    if (name == "forgotten") return;
    if (name == "thrown") throw std::runtime_error("thrown");
    if (name == "nothing") return done(Entry{.node = {}, .entry_ttl = std::chrono::seconds(30)});
    if (name == "denied") return done(fail(Code::denied, "no"));
    done(Entry{.node = {42}, .attr = {.inode = 42, .size = 7}, .attr_ttl = std::chrono::seconds(2)});
  }
  bool sees(const Caller&, NodeId) override { return !asks; }
  void admit(const Caller& caller, NodeId, std::stop_token, Done<void> done) override {
    if (caller.uid == 4'711) return done(fail(Code::not_found, "not for you"));
    done({});
  }
  bool asks = false;  // whether who opens something must be asked about
  Result<Entry> get_attributes(const Caller&, NodeId) override { return fail(Code::stale, "old"); }
  Result<Entry> set_attributes(const Caller&, NodeId, const SetAttr&) override {
    return fail(Code::refused, "no");
  }
  Result<std::string> read_link(const Caller&, NodeId) override { return "target"; }
  void list(const Caller&, NodeId, std::uint64_t cookie, std::size_t, std::stop_token,
            Done<std::vector<DirItem>> done) override {
    std::vector<DirItem> items;
    if (cookie < 7) items.push_back({"seven", {42}, FileKind::regular, 7});
    if (cookie < 9) items.push_back({"nine", {43}, FileKind::directory, std::uint64_t{1} << 62});
    done(cookie > 9 ? std::vector<DirItem>{} : items);
  }
  Result<Opened> open_file(const Caller&, NodeId node, int) override {
    Opened opened{.keep_cache = true, .handle = 3};
    if (node == kWholeBlob) opened.backing = *BlobId::parse(std::string(64, 'a'));
    return opened;
  }
  void read(const Caller&, NodeId, ByteRange, std::stop_token stop,
            Done<std::vector<std::byte>> done) override {
    struct Wait {
      Done<std::vector<std::byte>> done;
      std::optional<std::stop_callback<std::function<void()>>> on_stop;
    };
    auto wait = std::make_shared<Wait>();
    wait->done = std::move(done);
    ++waiting;
    std::lock_guard lock(mutex);
    waits.push_back(wait);
    wait->on_stop.emplace(stop, [this, raw = wait.get()] {
      --waiting;
      auto answer = std::move(raw->done);
      answer(fail(Code::cancelled, "interrupted"));
    });
  }
  Result<std::size_t> write(const Caller&, NodeId, std::uint64_t,
                            std::span<const std::byte> bytes) override {
    return bytes.size();
  }
  Result<void> sync(NodeId) override { return {}; }
  void release(NodeId, std::uint64_t, int) override { ++released; }
  void reopen(NodeId, std::uint32_t) override {}
  Result<Entry> make_directory(const Caller&, NodeId, std::string_view, std::uint32_t) override {
    return fail(Code::exists, "there");
  }
  Result<Entry> make_file(const Caller&, NodeId, std::string_view, std::uint32_t) override {
    return Entry{.node = {44}, .attr = {.inode = 44}};
  }
  Result<Entry> make_link(const Caller&, NodeId, std::string_view, std::string_view) override {
    return fail(Code::refused, "no");
  }
  Result<void> remove(const Caller&, NodeId, std::string_view, bool) override {
    return fail(Code::not_empty, "full");
  }
  void rename(const Caller&, NodeId, std::string_view, NodeId, std::string_view, unsigned,
              Done<void> done, std::stop_token) override {
    done({});
  }
  struct statvfs space() override { return {.f_bsize = 4'096, .f_blocks = 10, .f_bfree = 5}; }

  std::atomic<int> waiting = 0, released = 0;
  std::mutex mutex;
  std::vector<std::shared_ptr<void>> waits;
};

struct Answer {
  fuse_out_header header{};
  std::string body;
  template <class T>
  T as() const {
    T value{};
    std::memcpy(&value, body.data(), std::min(sizeof(T), body.size()));
    return value;
  }
};

std::uint32_t word(const Answer& answer, std::size_t offset) {
  std::uint32_t value = 0;
  if (answer.body.size() >= offset + sizeof(value))
    std::memcpy(&value, answer.body.data() + offset, sizeof(value));
  return value;
}

class FuseWireTest : public testing::Test {
 protected:
  explicit FuseWireTest(FuseOptions options = {.threads = 3}, std::uint32_t newer = 0) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    kernel_ = UniqueFd(ends[0]);
    handover_ = memory_.next();
    fuse_init_in init{.major = FUSE_KERNEL_VERSION, .minor = 38, .max_readahead = 64u << 20};
    // Everything, but newer ones only if there are any (FUSE_INIT_EXT says so).
    init.flags = newer != 0 ? ~std::uint32_t{0} : ~std::uint32_t{FUSE_INIT_EXT};
    init.flags2 = newer;
    send(FUSE_INIT, 0, std::string(reinterpret_cast<const char*>(&init), sizeof(init)));
    auto server =
        FuseServer::start(options, files_, keeper_, UniqueFd(ends[1]), *handover_, metrics_, activity_);
    EXPECT_TRUE(server);
    if (server) server_ = std::move(*server);
    const Answer answer = receive();
    init_ = answer.as<fuse_init_out>();
    stack_depth_ = word(answer, 36);
  }

  std::uint64_t send(fuse_opcode opcode, std::uint64_t node, std::string_view body,
                     std::uint64_t unique = 0) {
    fuse_in_header header{};
    header.opcode = opcode;
    header.unique = unique != 0 ? unique : next_ += 2;
    header.nodeid = node;
    header.uid = 1'000;
    header.pid = static_cast<std::uint32_t>(::getpid());
    header.len = static_cast<std::uint32_t>(sizeof(header) + body.size());
    std::string message(reinterpret_cast<const char*>(&header), sizeof(header));
    message += body;
    EXPECT_EQ(::send(kernel_.get(), message.data(), message.size(), 0),
              static_cast<ssize_t>(message.size()));
    return header.unique;
  }
  template <class T>
  std::uint64_t send_struct(fuse_opcode opcode, std::uint64_t node, const T& body,
                            std::string_view more = {}, std::uint64_t unique = 0) {
    return send(opcode, node,
                std::string(reinterpret_cast<const char*>(&body), sizeof(body)).append(more),
                unique);
  }
  std::uint64_t send_name(fuse_opcode opcode, std::string_view name) {
    return send(opcode, 1, std::string(name) + '\0');
  }
  std::uint64_t send_read(int flags, std::uint64_t unique = 0) {
    return send_struct(FUSE_READ, 42,
                       fuse_read_in{.size = 100, .flags = static_cast<std::uint32_t>(flags)}, {},
                       unique);
  }
  bool silent(int milliseconds = 50) {
    pollfd end{kernel_.get(), POLLIN, 0};
    return ::poll(&end, 1, milliseconds) == 0;
  }
  Answer receive() {
    Answer answer;
    pollfd end{kernel_.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&end, 1, 10'000), 1) << "no answer";
    std::string message(64 << 10, '\0');
    const ssize_t size = ::recv(kernel_.get(), message.data(), message.size(), MSG_DONTWAIT);
    EXPECT_GE(size, static_cast<ssize_t>(sizeof(answer.header)));
    if (size < static_cast<ssize_t>(sizeof(answer.header))) return answer;
    std::memcpy(&answer.header, message.data(), sizeof(answer.header));
    answer.body = message.substr(sizeof(answer.header), size - sizeof(answer.header));
    return answer;
  }
  void wait_for_reads(int count) {
    for (int i = 0; i < 1'000 && files_.waiting != count; ++i) ::usleep(5'000);
    ASSERT_EQ(files_.waiting, count);
  }

  FakeFiles files_;
  HandoverMemory memory_;
  std::unique_ptr<Handover> handover_;
  FakeKeeper keeper_;
  Metrics metrics_;
  Activity activity_{system_clock()};
  UniqueFd kernel_;
  std::unique_ptr<FuseServer> server_;
  std::uint64_t next_ = 0;
  fuse_init_out init_{};
  std::uint32_t stack_depth_ = 0;
};

TEST_F(FuseWireTest, WhatIsNegotiated) {
  EXPECT_LE(init_.max_readahead, 1u << 20);
  EXPECT_GE(init_.max_background, 1'024);
  EXPECT_GE(init_.congestion_threshold, 1'000);
  for (const std::uint32_t wanted :
       {FUSE_ASYNC_READ, FUSE_PARALLEL_DIROPS, FUSE_ATOMIC_O_TRUNC, FUSE_CACHE_SYMLINKS})
    EXPECT_NE(init_.flags & wanted, 0u) << wanted;
  for (const std::uint32_t unwanted :
       {FUSE_POSIX_LOCKS, FUSE_FLOCK_LOCKS, FUSE_DO_READDIRPLUS, FUSE_WRITEBACK_CACHE,
        FUSE_AUTO_INVAL_DATA, FUSE_ASYNC_DIO, FUSE_NO_OPENDIR_SUPPORT})
    EXPECT_EQ(init_.flags & unwanted, 0u) << unwanted;
}

TEST_F(FuseWireTest, Names) {
  const auto unique = send_name(FUSE_LOOKUP, "file");
  auto answer = receive();
  EXPECT_EQ(answer.header.unique, unique);
  EXPECT_EQ(answer.header.error, 0);
  const auto entry = answer.as<fuse_entry_out>();
  EXPECT_EQ(entry.nodeid, 42u);
  EXPECT_EQ(entry.attr.size, 7u);
  EXPECT_EQ(entry.attr_valid, 2u);
  send_name(FUSE_LOOKUP, "nothing");
  answer = receive();
  EXPECT_EQ(answer.header.error, 0);
  EXPECT_EQ(answer.as<fuse_entry_out>().nodeid, 0u);
  EXPECT_EQ(answer.as<fuse_entry_out>().entry_valid, 30u);
  send_name(FUSE_LOOKUP, "denied");
  EXPECT_EQ(receive().header.error, -EACCES);
  send_struct(FUSE_GETATTR, 42, fuse_getattr_in{});
  EXPECT_EQ(receive().header.error, -ESTALE);
  EXPECT_EQ(metrics_.value(Metric::fuse_lookups), 3);
}

TEST_F(FuseWireTest, AForgottenRequestAnswersEio) {
  send_name(FUSE_LOOKUP, "forgotten");
  EXPECT_EQ(receive().header.error, -EIO);
  send_name(FUSE_LOOKUP, "thrown");
  EXPECT_EQ(receive().header.error, -EIO);
  EXPECT_TRUE(silent());
}

TEST_F(FuseWireTest, Directories) {
  send_struct(FUSE_READDIR, 1, fuse_read_in{.offset = 0, .size = 4'096});
  auto body = receive().body;
  std::vector<std::string> names;
  std::uint64_t last = 0;
  for (std::size_t at = 0; at + FUSE_NAME_OFFSET <= body.size();) {
    fuse_dirent item{};
    std::memcpy(&item, body.data() + at, FUSE_NAME_OFFSET);
    names.push_back(body.substr(at + FUSE_NAME_OFFSET, item.namelen));
    last = item.off;
    at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + item.namelen);
  }
  EXPECT_EQ(names, (std::vector<std::string>{".", "..", "seven", "nine"}));
  send_struct(FUSE_READDIR, 1, fuse_read_in{.offset = last, .size = 4'096});
  EXPECT_EQ(receive().body, "");
  // One entry at a time comes to the same end.
  std::uint64_t offset = 0;
  std::size_t count = 0;
  while (true) {
    send_struct(FUSE_READDIR, 1, fuse_read_in{.offset = offset, .size = 32});
    body = receive().body;
    if (body.empty()) break;
    std::memcpy(&offset, body.data() + offsetof(fuse_dirent, off), sizeof(offset));
    ASSERT_LE(++count, 4u);
  }
  EXPECT_EQ(count, 4u);
}

TEST_F(FuseWireTest, AnInterruptEndsADirectRead) {
  const auto read = send_read(O_DIRECT);
  wait_for_reads(1);
  send_struct(FUSE_INTERRUPT, 0, fuse_interrupt_in{.unique = read}, {}, read | 1);
  const auto answer = receive();
  EXPECT_EQ(answer.header.unique, read);
  EXPECT_EQ(answer.header.error, -EINTR);
  EXPECT_TRUE(silent());
}

TEST_F(FuseWireTest, AnInterruptBeforeItsRequest) {
  send_struct(FUSE_INTERRUPT, 0, fuse_interrupt_in{.unique = 100}, {}, 101);
  send_read(O_DIRECT, 100);
  // libfuse may hand the interrupt back once, to be sent again.
  auto answer = receive();
  while (answer.header.error == -EAGAIN) {
    send_struct(FUSE_INTERRUPT, 0, fuse_interrupt_in{.unique = 100}, {}, 101);
    answer = receive();
  }
  EXPECT_EQ(answer.header.unique, 100u);
  EXPECT_EQ(answer.header.error, -EINTR);
}

TEST_F(FuseWireTest, AnInterruptOfALivingReaderOfPagesWaits) {
  const auto read = send_read(0);
  wait_for_reads(1);
  send_struct(FUSE_INTERRUPT, 0, fuse_interrupt_in{.unique = read}, {}, read | 1);
  EXPECT_TRUE(silent(700));
  EXPECT_EQ(files_.waiting, 1);
}

TEST_F(FuseWireTest, TheEndAnswersWhoWaits) {
  std::map<std::uint64_t, int> reads;
  for (int i = 0; i < 50; ++i) reads[send_read(0)] = 0;
  wait_for_reads(50);
  server_.reset();
  for (int i = 0; i < 50; ++i) {
    const auto answer = receive();
    EXPECT_EQ(answer.header.error, -EINTR);
    ++reads[answer.header.unique];
  }
  for (const auto& [unique, answers] : reads) EXPECT_EQ(answers, 1) << unique;
}

TEST_F(FuseWireTest, InterruptsAndAnswersAtOnce) {
  for (int round = 0; round < 200; ++round) {
    const auto read = send_read(O_DIRECT);
    send_struct(FUSE_INTERRUPT, 0, fuse_interrupt_in{.unique = read}, {}, read | 1);
    int answers = 0;
    while (answers == 0) {
      const auto answer = receive();
      if (answer.header.unique == read) {
        EXPECT_EQ(answer.header.error, -EINTR);
        ++answers;
      } else {  // the interrupt came first and is to be sent again
        EXPECT_EQ(answer.header.error, -EAGAIN);
        send_struct(FUSE_INTERRUPT, 0, fuse_interrupt_in{.unique = read}, {}, read | 1);
      }
    }
  }
}

TEST_F(FuseWireTest, OpenCreateAndRelease) {
  send_struct(FUSE_OPEN, 42, fuse_open_in{.flags = O_RDONLY});
  const auto opened = receive().as<fuse_open_out>();
  EXPECT_EQ(opened.fh, 3u);
  EXPECT_EQ(opened.open_flags & FOPEN_KEEP_CACHE, static_cast<unsigned>(FOPEN_KEEP_CACHE));
  EXPECT_EQ(opened.open_flags & FOPEN_DIRECT_IO, 0u);
  send_struct(FUSE_CREATE, 1, fuse_create_in{.flags = O_WRONLY, .mode = S_IFREG | 0644},
              std::string_view("x", 2));
  EXPECT_EQ(receive().as<fuse_entry_out>().nodeid, 44u);
  send_struct(FUSE_RELEASE, 42, fuse_release_in{.fh = 3});
  EXPECT_EQ(receive().header.error, 0);
  EXPECT_EQ(files_.released, 1);
  for (const unsigned type : {S_IFIFO, S_IFREG}) {
    send_struct(FUSE_MKNOD, 1, fuse_mknod_in{.mode = type | 0600}, std::string_view("p", 2));
    EXPECT_EQ(receive().header.error, -EPERM);
  }
}

// Linux 6.9 and later: include/uapi/linux/fuse.h.
constexpr std::uint32_t kPassthrough = 1u << (37 - 32);  // FUSE_PASSTHROUGH, in flags2
constexpr std::uint32_t kHandedOver = 1u << 7;           // FOPEN_PASSTHROUGH

class ModernKernelTest : public FuseWireTest {
 protected:
  explicit ModernKernelTest(FuseOptions options = {.threads = 3})
      : FuseWireTest(options, kPassthrough) {}

  struct Handed {
    bool over = false, keep_cache = false;
    std::uint32_t backing_id = 0;
  };
  Handed open(NodeId node) {
    fuse_open_in asked{};
    send(FUSE_OPEN, node.value, bytes_of_struct(asked));
    const Answer answer = receive();
    const std::uint32_t flags = answer.as<fuse_open_out>().open_flags;
    return {(flags & kHandedOver) != 0, (flags & FOPEN_KEEP_CACHE) != 0, word(answer, 12)};
  }
  void release(NodeId node) {
    fuse_release_in asked{};
    send(FUSE_RELEASE, node.value, bytes_of_struct(asked));
    EXPECT_EQ(receive().header.error, 0);
  }
  template <class T>
  static std::string bytes_of_struct(const T& value) {
    return {reinterpret_cast<const char*>(&value), sizeof(value)};
  }
};

TEST_F(ModernKernelTest, AWholeBlobIsHandedOverOnceForAllWhoHaveItOpen) {
  EXPECT_TRUE(server_->read_mode().passthrough);
  EXPECT_EQ(init_.flags2 & kPassthrough, kPassthrough);
  EXPECT_EQ(stack_depth_, 1u);
  for (int i = 0; i < 2; ++i) {
    const auto opened = open(kWholeBlob);
    EXPECT_TRUE(opened.over);
    EXPECT_FALSE(opened.keep_cache);
    EXPECT_EQ(opened.backing_id, 1u);
  }
  const auto small = open(NodeId{42});
  EXPECT_FALSE(small.over);
  EXPECT_TRUE(small.keep_cache);
  release(NodeId{42});
  release(kWholeBlob);
  EXPECT_EQ(keeper_.open, 1);
  release(kWholeBlob);
  EXPECT_EQ(keeper_.open, 0);
  EXPECT_EQ(open(kWholeBlob).backing_id, 2u);
}

// The kernel takes one mode for a node at a time, whatever has become possible or impossible since.
TEST_F(ModernKernelTest, ANodeKeepsItsModeWhileItIsOpen) {
  keeper_.refusal = Error{Code::io, "no descriptor left", {}};
  EXPECT_TRUE(open(kWholeBlob).keep_cache);
  keeper_.refusal.reset();
  EXPECT_FALSE(open(kWholeBlob).over);
  release(kWholeBlob);
  release(kWholeBlob);
  EXPECT_TRUE(open(kWholeBlob).over);
  keeper_.refusal = Error{Code::io, "no descriptor left", {}};
  EXPECT_EQ(open(kWholeBlob).backing_id, 1u);
}

TEST_F(ModernKernelTest, ALastingRefusalIsNotTriedAgain) {
  keeper_.refusal = Error{Code::denied, "not here", {}};
  EXPECT_FALSE(open(kWholeBlob).over);
  release(kWholeBlob);
  EXPECT_FALSE(server_->read_mode().passthrough);
  EXPECT_EQ(server_->read_mode().reason, "not here");
  keeper_.refusal.reset();
  EXPECT_FALSE(open(kWholeBlob).over);
}

class MaskedKernelTest : public ModernKernelTest {
 protected:
  MaskedKernelTest() : ModernKernelTest({.threads = 3, .old_kernel = true}) {}
};

TEST_F(MaskedKernelTest, NothingNewerThan515IsUsed) {
  EXPECT_EQ(init_.flags2, 0u);
  EXPECT_TRUE(open(kWholeBlob).keep_cache);
  EXPECT_EQ(keeper_.last_id, 0);
  EXPECT_NE(server_->read_mode().reason.find("fuse_features"), std::string::npos);
}

TEST_F(FuseWireTest, AKernelWithoutPassthrough) {
  EXPECT_FALSE(server_->read_mode().passthrough);
  EXPECT_NE(server_->read_mode().reason.find("kernel"), std::string::npos);
}

// The kernel's end stays where it is; workers come and go.
class TakenOverTest : public FuseWireTest {
 protected:
  TakenOverTest() { server_.reset(); }
  // Workers that end with what they find, and then one that serves.
  void serve_after(int workers) {
    for (int i = 1; i < workers; ++i) {
      handover_ = memory_.next();
      for (const auto& left : handover_->left()) handover_->try_again(left);
    }
    handover_ = memory_.next();
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    kernel_ = UniqueFd(ends[0]);
    auto server =
        FuseServer::start({.threads = 3}, files_, keeper_, UniqueFd(ends[1]), *handover_, metrics_, activity_);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }
  void leave(std::uint64_t unique, fuse_opcode opcode, std::string_view body) {
    std::string message(sizeof(fuse_in_header), '\0');
    message += body;
    hffs::receive(*handover_, static_cast<unsigned>(unique / 2 % 8), unique, opcode, message.size());
    const auto place = handover_->desk(static_cast<unsigned>(unique / 2 % 8));
    std::memcpy(place.data() + sizeof(fuse_in_header), body.data(), body.size());
  }
};

TEST_F(TakenOverTest, WhatWasLeftIsAnsweredAndTheKernelHearsNoInit) {
  leave(100, FUSE_LOOKUP, std::string("file\0", 5));
  leave(102, FUSE_LOOKUP, std::string("denied\0", 7));
  serve_after(1);
  auto answer = receive();
  EXPECT_EQ(answer.header.unique, 100u);
  EXPECT_EQ(answer.as<fuse_entry_out>().nodeid, 42u);
  answer = receive();
  EXPECT_EQ(answer.header.unique, 102u);
  EXPECT_EQ(answer.header.error, -EACCES);
  EXPECT_TRUE(silent());
  send_name(FUSE_LOOKUP, "file");
  EXPECT_EQ(receive().as<fuse_entry_out>().nodeid, 42u);
}

TEST_F(TakenOverTest, ARequestThatEndsWorkersIsAnswered) {
  leave(100, FUSE_LOOKUP, std::string("file\0", 5));
  serve_after(3);
  const auto answer = receive();
  EXPECT_EQ(answer.header.unique, 100u);
  EXPECT_EQ(answer.header.error, -EIO);
}

TEST_F(TakenOverTest, WhatHasItsAnswerIsNotDoneAgain) {
  leave(100, FUSE_LOOKUP, std::string("file\0", 5));
  fuse_out_header said{.len = sizeof(said), .error = -EISDIR, .unique = 100};
  const iovec part{&said, sizeof(said)};
  handover_->answering(100, {&part, 1});
  serve_after(1);
  const auto answer = receive();
  EXPECT_EQ(answer.header.unique, 100u);
  EXPECT_EQ(answer.header.error, -EISDIR);
  EXPECT_TRUE(silent());
  EXPECT_TRUE(memory_.next()->left().empty());
}

}  // namespace
}  // namespace hffs
