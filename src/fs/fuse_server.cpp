// SPDX-License-Identifier: Apache-2.0
//
// The session's threads. All read the one descriptor: after a crash, what is in flight on a cloned one
// is lost.
#include <pthread.h>
#include <signal.h>

#include <cerrno>
#include <latch>
#include <thread>

#include "fuse_ops.h"
#include "fuse_reply.h"
#include "hffs/filesystem.h"

namespace hffs {
namespace fs {
namespace {

// Gets a thread out of its read of the device. Its default is to be ignored, so that a stray one does
// nothing.
constexpr int kWakeUp = SIGURG;
constexpr std::chrono::milliseconds kWakeUpPause{10};

// Outlives the server for who is in wait().
struct Ending {
  struct State {
    unsigned running = 0;
    std::optional<Error> error;
  };
  Guarded<State> state;
  std::condition_variable ended;
};

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
  Server(FileSystem& files, Keeper& keeper, Metrics& metrics)
      : session_{.files = files, .metrics = metrics, .keeper = keeper, .parking = {}},
        ending_(std::make_shared<Ending>()) {}
  ~Server() override;

  Result<void> start(const FuseOptions& options, UniqueFd device);
  Result<void> wait() override;
  ReadMode read_mode() const override { return session_.backings.mode(); }
  void forget_attributes(NodeId node) override {
    // A negative offset: no page. That the kernel does not know the node is fine.
    (void)::fuse_lowlevel_notify_inval_inode(fuse_, node.value, -1, 0);
  }

 private:
  void serve(bool first);

  Session session_;
  const std::shared_ptr<Ending> ending_;
  fuse_session* fuse_ = nullptr;
  std::vector<std::thread> threads_;
  std::latch negotiated_{1};  // libfuse writes at INIT what it reads at every request
};

Result<void> Server::start(const FuseOptions& options, UniqueFd device) {
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
  // The descriptor is the session's from here on.
  const std::string path = fmt::format("/dev/fd/{}", device.get());
  if (::fuse_session_mount(fuse_, path.c_str()) != 0)
    return fail(Code::io, "libfuse refused the descriptor of the mount");
  device.release();

  ending_->state.lock()->running = options.threads;
  for (unsigned i = 0; i < options.threads; ++i) threads_.emplace_back([this, i] { serve(i == 0); });
  return {};
}

// The first request is INIT: one thread answers it before the others read.
void Server::serve(bool first) {
  ::pthread_setname_np(::pthread_self(), "fuse");
  if (!first) negotiated_.wait();
  fuse_buf request{};
  int result = 0;
  while (::fuse_session_exited(fuse_) == 0) {
    result = ::fuse_session_receive_buf(fuse_, &request);
    if (result == -EINTR || result == -EAGAIN) continue;
    if (result <= 0) break;
    ::fuse_session_process_buf(fuse_, &request);
    if (std::exchange(first, false)) negotiated_.count_down();
  }
  if (first) negotiated_.count_down();
  std::free(request.mem);
  auto state = ending_->state.lock();
  if (result < 0 && result != -EINTR && !state->error)
    state->error = system_error(-result, "reading the FUSE device");
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
}  // namespace fs

Result<std::unique_ptr<FuseServer>> FuseServer::start(FuseOptions options, FileSystem& files,
                                                      Keeper& keeper, UniqueFd device,
                                                      Metrics& metrics) {
  auto server = std::make_unique<fs::Server>(files, keeper, metrics);
  if (auto started = server->start(options, std::move(device)); !started) return fail(started);
  return server;
}

}  // namespace hffs
