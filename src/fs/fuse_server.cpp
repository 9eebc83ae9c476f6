// SPDX-License-Identifier: Apache-2.0
//
// The session's threads. All read the one descriptor: after a crash, what is in flight on a cloned one
// is lost. Requests are received where a successor finds them, and are forgotten behind their answers:
// so this reads and writes the device itself, and libfuse only takes requests apart and puts answers
// together (fuse_session_custom_io).
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <latch>
#include <thread>

#include "fuse_ops.h"
#include "fuse_reply.h"
#include "hffs/activity.h"
#include "hffs/clock.h"
#include "hffs/filesystem.h"

namespace hffs {
namespace fs {
namespace {

// Gets a thread out of its read of the device. Its default is to be ignored, so that a stray one does
// nothing.
constexpr int kWakeUp = SIGURG;
constexpr std::chrono::milliseconds kWakeUpPause{10};
// A request with which so many workers ended is answered EIO by the next.
constexpr std::uint32_t kMostTries = 3;

// Outlives the server for who is in wait().
struct Ending {
  struct State {
    unsigned running = 0;
    std::optional<Error> error;
  };
  Guarded<State> state;
  std::condition_variable ended;
};

fuse_in_header header_of(std::span<const std::byte> request) {
  fuse_in_header header{};
  std::memcpy(&header, request.data(), std::min(request.size(), sizeof(header)));
  return header;
}

void write_fuse_log(fuse_log_level level, const char* format, va_list arguments) {
  std::array<char, 512> text{};
  ::vsnprintf(text.data(), text.size(), format, arguments);
  std::string_view line(text.data());
  while (line.ends_with('\n')) line.remove_suffix(1);
  const Level ours = level <= FUSE_LOG_ERR       ? Level::error
                     : level == FUSE_LOG_WARNING ? Level::warn
                     : level == FUSE_LOG_DEBUG   ? Level::debug
                                                 : Level::info;
  write_log(ours, "fuse", line);
}

class Server final : public FuseServer {
 public:
  Server(FileSystem* files, Keeper& keeper, UniqueFd device, Handover& handover, Metrics& metrics,
         Activity& activity)
      : device_(std::move(device)),
        handover_(handover),
        session_{.files = files,
                 .metrics = metrics,
                 .keeper = keeper,
                 .backings = {keeper, handover, metrics},
                 .parking = {},
                 .activity = activity},
        ending_(std::make_shared<Ending>()) {
    session_.send = [this](std::span<const iovec> parts) { return send(parts); };
  }
  ~Server() override;

  // Makes the session, and adopts the one that is there.
  Result<void> prepare(const FuseOptions& options);
  void start(unsigned threads);
  Result<void> wait() override;
  ReadMode read_mode() const override { return session_.backings.mode(); }
  void forget_attributes(NodeId node) override {
    // A negative offset: no page. That the kernel does not know the node is fine.
    (void)::fuse_lowlevel_notify_inval_inode(fuse_, node.value, -1, 0);
  }

 private:
  Result<void> adopt_session(const Handover::Session& session);
  void go_on();
  void negotiate(std::span<std::byte> request);
  void process(std::span<std::byte> request);
  void serve(unsigned desk);
  ssize_t send(std::span<const iovec> parts);

  const UniqueFd device_;
  Handover& handover_;
  Session session_;
  const std::shared_ptr<Ending> ending_;
  fuse_session* fuse_ = nullptr;
  std::vector<std::thread> threads_;
  // Set while INIT is in work, by one thread alone: libfuse writes then what it reads at every request.
  std::vector<std::byte>* init_answer_ = nullptr;
  bool silent_ = false;  // … and the kernel has had the answer
  std::latch negotiated_{1};
};

// libfuse's thread, for any answer and any notification.
ssize_t Server::send(std::span<const iovec> parts) {
  fuse_out_header header;
  std::memcpy(&header, parts.front().iov_base, sizeof(header));
  if (init_answer_ != nullptr)
    for (const iovec& part : parts) {
      const auto* bytes = static_cast<const std::byte*>(part.iov_base);
      init_answer_->insert(init_answer_->end(), bytes, bytes + part.iov_len);
    }
  if (header.unique != 0) handover_.answering(header.unique, parts);
  const ssize_t sent = silent_ ? static_cast<ssize_t>(header.len)
                               : ::writev(device_.get(), parts.data(), static_cast<int>(parts.size()));
  const int reason = errno;
  if (header.unique != 0) handover_.answered(header.unique);
  errno = reason;
  return sent;
}

// A successor is told what the kernel told the first worker, and must say what that said.
Result<void> Server::adopt_session(const Handover::Session& session) {
  auto request = session.request;
  std::vector<std::byte> answer;
  init_answer_ = &answer;
  silent_ = true;
  process(request);
  init_answer_ = nullptr;
  silent_ = false;
  if (answer == session.answer) return {};
  return fail(Code::unsupported,
              "this worker wants another session than the one that is mounted; unmount, and mount again");
}

void Server::negotiate(std::span<std::byte> request) {
  const std::vector<std::byte> asked(request.begin(), request.end());
  std::vector<std::byte> answer;
  init_answer_ = &answer;
  process(request);
  init_answer_ = nullptr;
  handover_.keep_session(asked, answer);
  negotiated_.count_down();
}

// What the predecessor had not answered, before anything new.
void Server::go_on() {
  for (auto& left : handover_.left()) {
    const fuse_in_header header = header_of(left.request);
    if (header.opcode == FUSE_INIT) {
      negotiate(left.request);
    } else if (!left.answer.empty()) {
      // The kernel refuses it if it has had it.
      (void)!::write(device_.get(), left.answer.data(), left.answer.size());
      handover_.answered(header.unique);
    } else if (left.tries < kMostTries) {
      handover_.try_again(left);
      process(left.request);
    } else {
      log(Level::error, "fs", "request {} ended {} workers, and is answered EIO", header.opcode, left.tries);
      fuse_out_header refusal{.len = sizeof(refusal), .error = -EIO, .unique = header.unique};
      const iovec part{&refusal, sizeof(refusal)};
      (void)send({&part, 1});
    }
    handover_.settle(left);
  }
}

void Server::process(std::span<std::byte> request) {
  Session::request = header_of(request).unique;
  fuse_buf buffer{};
  buffer.size = request.size();
  buffer.mem = request.data();
  ::fuse_session_process_buf(fuse_, &buffer);
}

Result<void> Server::prepare(const FuseOptions& options) {
  ::fuse_set_log_func(&write_fuse_log);
  struct sigaction nothing{};
  nothing.sa_handler = [](int) {};
  ::sigaction(kWakeUp, &nothing, nullptr);

  session_.old_kernel = options.old_kernel;
  std::vector<std::string> words{"hffs"};
  if (options.debug) words.emplace_back("-d");
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  fuse_args arguments = FUSE_ARGS_INIT(static_cast<int>(pointers.size()), pointers.data());
  fuse_ = ::fuse_session_new(&arguments, &fuse_operations(), sizeof(fuse_lowlevel_ops), &session_);
  ::fuse_opt_free_args(&arguments);
  if (fuse_ == nullptr) return fail(Code::unsupported, "libfuse refused the session");
  fuse_custom_io io{};
  io.read = [](int fd, void* bytes, std::size_t size, void*) { return ::read(fd, bytes, size); };
  io.writev = [](int, iovec* parts, int count, void* session) {
    return static_cast<Session*>(session)->send({parts, static_cast<std::size_t>(count)});
  };
  // A copy: libfuse closes it.
  const int copy = ::fcntl(device_.get(), F_DUPFD_CLOEXEC, 3);
  if (copy < 0 || ::fuse_session_custom_io(fuse_, &io, sizeof(io), copy) != 0)
    return fail(Code::io, "libfuse refused the descriptor of the mount");

  const auto session = handover_.session();
  return session ? adopt_session(*session) : Result<void>{};
}

void Server::start(unsigned threads) {
  for (const auto& [row, open] : handover_.open_nodes()) {
    session_.backings.reopen(row, open);
    if (open.count > 0) session_.files->reopen({open.node}, open.count);
  }
  go_on();
  if (handover_.session() && !negotiated_.try_wait()) negotiated_.count_down();
  ending_->state.lock()->running = threads;
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this, i] { serve(i); });
  negotiated_.wait();
}

// The first request is INIT: one thread answers it before the others read.
void Server::serve(unsigned desk) {
  ::pthread_setname_np(::pthread_self(), "fuse");
  bool first = desk == 0 && !negotiated_.try_wait();
  if (!first) negotiated_.wait();
  const std::span<std::byte> place = handover_.desk(desk);
  int reason = 0;
  while (::fuse_session_exited(fuse_) == 0) {
    const ssize_t size = ::read(device_.get(), place.data(), place.size());
    reason = size < 0 ? errno : 0;
    // ENOENT: it was interrupted while it was handed over.
    if (reason == EINTR || reason == EAGAIN || reason == ENOENT) continue;
    if (reason == ENODEV) ::fuse_session_exit(fuse_);
    if (size <= 0) break;
    handover_.begin(desk);
    const auto request = place.first(static_cast<std::size_t>(size));
    if (std::exchange(first, false) && header_of(request).opcode == FUSE_INIT)
      negotiate(request);
    else
      process(request);
    handover_.clear_desk(desk);
  }
  if (first) negotiated_.count_down();  // the device was gone before it
  auto state = ending_->state.lock();
  const bool unmounted = reason == ENODEV;
  if (reason != 0 && reason != EINTR && !unmounted && !state->error)
    state->error = system_error(reason, "reading the FUSE device");
  if (--state->running == 0) ending_->ended.notify_all();
}

Result<void> Server::wait() {
  const auto ending = ending_;
  auto state = ending->state.lock();
  while (state->running > 0) state.wait(ending->ended);
  if (state->error) return fail(*state->error);
  return {};
}

Server::~Server() {
  if (fuse_ == nullptr) return;
  ::fuse_session_exit(fuse_);
  // A thread may be between its look at the flag and its read: again, until it has gone.
  while (ending_->state.lock()->running > 0) {
    for (auto& thread : threads_) ::pthread_kill(thread.native_handle(), kWakeUp);
    std::this_thread::sleep_for(kWakeUpPause);
  }
  for (auto& thread : threads_) thread.join();
  session_.parking.clear();
  ::fuse_session_destroy(fuse_);  // closes the device
}

}  // namespace

thread_local std::uint64_t Session::request = 0;

}  // namespace fs

Result<void> FuseServer::check_session(FuseOptions options, Keeper& keeper, Handover& handover) {
  if (!handover.session()) return {};
  Metrics nobodys;
  Activity nobody_acts(system_clock());
  UniqueFd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!nothing) return fail(system_error(errno, "opening /dev/null"));
  return fs::Server(nullptr, keeper, std::move(nothing), handover, nobodys, nobody_acts).prepare(options);
}

Result<std::unique_ptr<FuseServer>> FuseServer::start(FuseOptions options, FileSystem& files,
                                                      Keeper& keeper, UniqueFd device,
                                                      Handover& handover, Metrics& metrics,
                                                      Activity& activity) {
  auto server = std::make_unique<fs::Server>(&files, keeper, std::move(device), handover, metrics, activity);
  if (auto prepared = server->prepare(options); !prepared) return fail(prepared);
  server->start(options.threads);
  return server;
}

}  // namespace hffs
