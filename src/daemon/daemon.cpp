// SPDX-License-Identifier: Apache-2.0
#include "hffs/daemon.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "commands.h"
#include "control_server.h"
#include "hffs/access.h"
#include "hffs/activity.h"
#include "hffs/budget.h"
#include "hffs/catalog.h"
#include "hffs/clock.h"
#include "hffs/filesystem.h"
#include "hffs/guarded.h"
#include "hffs/keeper.h"
#include "hffs/pins.h"
#include "hffs/policy.h"
#include "hffs/prefetch.h"
#include "hffs/prefetch_queue.h"
#include "hffs/recorder.h"
#include "hffs/store.h"
#include "hffs/transfer.h"
#include "hffs/wallet.h"
#include "import_jobs.h"
#include "origin.h"
#include "own_process.h"
#include "status_page.h"
#include "successor.h"
#include "verify_jobs.h"

namespace hffs {
namespace {

// How long open files may keep the session after the mount point is gone.
constexpr std::chrono::milliseconds kFarewell{1'000};

void ring(const UniqueFd& event) {
  const std::uint64_t one = 1;
  (void)!::write(event.get(), &one, sizeof(one));
}

class RunningDaemon final : public Daemon {
 public:
  RunningDaemon(Config config, Keeper& keeper) : config_(std::move(config)), keeper_(keeper) {}
  ~RunningDaemon() override;

  Result<void> start();
  Result<void> run() override;

 private:
  Result<void> watch_signals();
  Result<void> take_over();
  Result<void> check_index() const;
  Result<void> open_parts();
  Result<void> open_gate();
  Result<void> mount();
  Result<void> listen();
  void heard(const BlobInfo& blob);
  void end_session();
  FuseOptions fuse_options() const { return {.old_kernel = config_.old_kernel}; }

  const Config config_;
  Keeper& keeper_;
  // Threads of a folder that hangs keep it.
  const std::shared_ptr<Successor> successor_ = std::make_shared<Successor>(keeper_, system_clock());
  std::unique_ptr<Handover> handover_;
  Metrics metrics_;
  Activity activity_{system_clock()};
  Recorder recorder_;
  Guarded<std::shared_ptr<Commands>> serving_;
  UniqueFd signals_, stop_asked_, session_ended_;
  // Outlives the store, so that who waits for our end sees it when the store is closed.
  std::unique_ptr<ControlServer> control_;
  // What store threads may call. Empty before and after the engine's life.
  Guarded<TransferEngine*> engine_{nullptr};
  Guarded<FuseServer*> served_by_{nullptr};
  Grants grants_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Origin> origin_;
  std::unique_ptr<Wallet> wallet_;
  std::shared_ptr<const Policy> policy_;
  std::unique_ptr<Budget> budget_;
  std::unique_ptr<Origin> charged_;  // the same origin, for who asks on behalf of a user
  std::unique_ptr<AccessControl> access_;
  std::unique_ptr<TransferEngine> transfer_;
  std::shared_ptr<Catalog> catalog_;
  std::unique_ptr<Prefetcher> prefetcher_;
  std::shared_ptr<PrefetchQueue> prefetches_;
  std::unique_ptr<FileSystem> files_;
  std::unique_ptr<FuseServer> server_;
  std::unique_ptr<ImportJobs> imports_;
  std::shared_ptr<VerifyJobs> verifications_;
  std::shared_ptr<Commands> commands_;
  std::unique_ptr<StatusPage> page_;
  bool started_ = false;
  std::thread session_;
  Result<void> session_result_;
};

Result<void> RunningDaemon::watch_signals() {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t ends;
  ::sigemptyset(&ends);
  // A terminal that is closed must not leave a dead mount behind either.
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&ends, number);
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  signals_ = UniqueFd(::signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK));
  stop_asked_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  session_ended_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!signals_ || !stop_asked_ || !session_ended_)
    return fail(system_error(errno, "making an event descriptor"));
  raise_descriptor_limit();
  keep_tokens_inside();
  return {};
}

// Whoever serves goes on to until we are known to be able to.
Result<void> RunningDaemon::take_over() {
  auto handover = keeper_.handover();
  if (!handover) return fail(handover);
  handover_ = std::move(*handover);
  if (auto fits = FuseServer::check_session(fuse_options(), keeper_, *handover_); !fits) return fits;
  if (auto same = check_index(); !same) return same;
  auto origin = open_origin(
      config_, &grants_, [successor = successor_](const std::string& folder) { successor->look_at(folder); },
      system_clock(), metrics_);
  if (!origin) return fail(origin);
  origin_ = std::move(*origin);
  if (auto alone = keeper_.take_turn(); !alone) return alone;
  handover_->take_over();
  return {};
}

// Node ids are made of its rows, and the kernel keeps them.
Result<void> RunningDaemon::check_index() const {
  if (!handover_->session() || handover_->index() == index_of(config_.state_dir)) return {};
  return fail(Code::unsupported,
              "what is mounted is of another index than that of {}; unmount, and mount again",
              config_.state_dir);
}

Result<void> RunningDaemon::open_gate() {
  WalletOptions options{.own = config_.user,
                        .token = config_.token,
                        .anonymous = config_.anonymous,
                        .directory = store_directory(config_.state_dir) + "/tokens"};
  // Else nobody but the daemon's own user comes.
  if (config_.allow_other && config_.user_tokens)
    options.reader = [this](uid_t user, pid_t process) { return keeper_.read_token(user, process); };
  auto wallet = Wallet::open(std::move(options), system_clock());
  if (!wallet) return fail(wallet);
  wallet_ = std::move(*wallet);
  policy_ = std::make_shared<const Policy>(config_.policy);
  budget_ = std::make_unique<Budget>(config_.budget, config_.user, policy_, system_clock(),
                                     [this](uid_t user) { return wallet_->owner_of(user); });
  charged_ = charge_calls(*origin_, *budget_);
  access_ = open_access({.own = config_.user, .ttl = config_.access_ttl,
                         .anonymous = config_.anonymous,
                         .endpoint = config_.endpoints.front()},
                        *charged_, *wallet_, grants_, system_clock());
  access_ = enforce_policy(policy_, std::move(access_));
  return {};
}

Result<void> RunningDaemon::open_parts() {
  const Clock& clock = system_clock();
  auto store = Store::open({.state_dir = config_.state_dir,
                            .sync_interval = config_.sync_interval,
                            .limits = config_.limits,
                            .scrub = {.period = config_.scrub}},
                           system_disk(), clock, metrics_);
  if (!store) return fail(store);
  store_ = std::move(*store);
  store_->on_incarnation([this](const BlobInfo& blob) { heard(blob); });
  if (auto same = check_index(); !same) {
    // It was begun anew: nobody may go on with what he has open.
    (void)keeper_.unmount();
    keeper_.abort();
    return same;
  }
  handover_->keep_index(index_of(config_.state_dir));

  if (auto opened = open_gate(); !opened) return opened;
  transfer_ = TransferEngine::create({.read_deadline = config_.read_deadline}, *origin_, *store_,
                                     clock, metrics_);
  *engine_.lock() = transfer_.get();

  auto catalog = Catalog::open(
      {.ref_ttl = config_.ref_ttl,
       .control_socket = control_socket(config_.state_dir),
       .owner = config_.user,
       .group = config_.group}, *charged_, *store_, *access_, clock, metrics_);
  if (!catalog) return fail(catalog);
  catalog_ = std::move(*catalog);
  store_->bounds().protect(visit_staying_blobs);
  store_->bounds().on_evicted([this](std::uint64_t number, std::uint32_t incarnation) {
    auto server = served_by_.lock();
    // st_blocks of a verified blob is believed for good.
    if (*server != nullptr) (*server)->forget_attributes(NodeId::of_blob(number, incarnation));
  });
  const bool offline = config_.offline && !has_folder(config_);
  // Offline every guess would be refused.
  prefetcher_ = Prefetcher::create(
      {.policy = offline ? PrefetchPolicy::off : config_.prefetch, .budget = budget_.get()},
      *origin_, *catalog_, *store_, *transfer_, clock, metrics_);
  prefetches_ = PrefetchQueue::create({}, *catalog_, *store_, *transfer_, *budget_, clock);
  auto files =
      FileSystem::open({.offline = offline,
                        .offline_partial = config_.offline_partial, .strict = config_.strict,
                        .overlay_bytes_per_user = config_.user_size,
                        .overlay_files_per_user = config_.user_files,
                        .overlay_bytes = config_.total_size, .overlay_files = config_.total_files,
                        .own = config_.user,
                        .owner_of = [this](uid_t user) { return wallet_->owner_of(user); },
                        .recorder = &recorder_,
                        .entered =
                            [this](const Caller& caller, const RepoId& repo) {
                              // The mount answers a moment before the socket does.
                              if (const auto commands = *serving_.lock()) commands->entered(caller, repo);
                            },
                        .budget = budget_.get()},
                       *catalog_, *store_, *transfer_, *prefetcher_, *handover_, system_disk(), clock,
                       metrics_);
  if (!files) return fail(files);
  files_ = std::move(*files);
  return {};
}

Result<void> RunningDaemon::mount() {
  auto device = keeper_.mount();
  if (!device) return fail(device);
  auto server = FuseServer::start(fuse_options(), *files_, keeper_, std::move(*device), *handover_,
                                  metrics_, activity_);
  if (!server) return fail(server);
  server_ = std::move(*server);
  *served_by_.lock() = server_.get();
  // The limits may be lower than they were. Not before what is open is known.
  store_->bounds().evict({}, [](const auto&) {});
  return {};
}

Result<void> RunningDaemon::listen() {
  imports_ = std::make_unique<ImportJobs>(config_.mount_point, *catalog_, *store_, system_disk());
  verifications_ = std::make_shared<VerifyJobs>(catalog_, *store_, system_clock());
  commands_ = std::make_shared<Commands>(Commands::Parts{
      .config = config_,
      .clock = system_clock(),
      .metrics = metrics_,
      .origin = *charged_,
      .access = *access_,
      .wallet = *wallet_,
      .store = *store_,
      .catalog = catalog_,
      .transfer = *transfer_,
      .imports = *imports_,
      .verifications = *verifications_,
      .recorder = recorder_,
      .activity = activity_,
      .prefetches = prefetches_,
      .read_mode =
          [this] {
            auto server = served_by_.lock();
            return *server == nullptr ? ReadMode{} : (*server)->read_mode();
          },
      .budget = *budget_,
      .workers = handover_->generation(),
      .stop =
          [this](const Peer& peer) {
            log(Level::info, "daemon", "asked to end by uid={} pid={}", peer.uid, peer.pid);
            ring(stop_asked_);
          },
  });
  *serving_.lock() = commands_;
  auto control = ControlServer::start(
      {.directory = store_directory(config_.state_dir), .owner = config_.user},
      [commands = commands_.get()](const Peer& peer, const nlohmann::json& request, UniqueFd given,
                                   Done<nlohmann::json> done) {
        commands->answer(peer, request, std::move(given), std::move(done));
      });
  if (!control) return fail(control);
  control_ = std::move(*control);
  page_ = StatusPage::open(config_, [commands = commands_.get()](const Peer& peer, const nlohmann::json& request,
                                                                 Done<nlohmann::json> done) {
    commands->answer(peer, request, {}, std::move(done));
  });
  return {};
}

Result<void> RunningDaemon::start() {
  if (auto watched = watch_signals(); !watched) return fail(watched);
  if (auto taken = take_over(); !taken) return fail(taken);
  if (auto opened = open_parts(); !opened) return fail(opened);
  if (auto mounted = mount(); !mounted) return fail(mounted);
  if (auto listening = listen(); !listening) return fail(listening);
  started_ = true;
  std::string endpoints;
  for (const auto& endpoint : config_.endpoints) endpoints += " " + endpoint;
  log(Level::info, "daemon", "mounted version={} mount_point={} state_dir={} endpoints={}{}",
      HFFS_VERSION, config_.mount_point, config_.state_dir, endpoints,
      config_.offline ? " offline" : "");
  return {};
}

// On a store thread.
void RunningDaemon::heard(const BlobInfo& blob) {
  if (blob.verified || blob.lost) return;
  log(Level::warn, "daemon",
      "blob {} had wrong bytes and was put aside; it is fetched again as incarnation {}",
      blob.id.hex(), blob.incarnation);
  auto engine = engine_.lock();
  if (*engine == nullptr) return;
  (*engine)->note_corrupt(blob.number);
  origin_->note_wrong(blob.id, blob.size);
}

Result<void> RunningDaemon::run() {
  session_ = std::thread([this] {
    session_result_ = server_->wait();
    ring(session_ended_);
  });
  while (true) {
    pollfd watched[] = {{signals_.get(), POLLIN, 0}, {stop_asked_.get(), POLLIN, 0}, {session_ended_.get(), POLLIN, 0}};
    const int found = ::poll(watched, std::size(watched), 5'000);
    if (found < 0 && errno != EINTR) return fail(system_error(errno, "waiting for the end"));
    if (found == 0)
      for (const std::string& path : files_of_each_connection(config_)) successor_->look_at(path);
    if (found <= 0) continue;
    if (watched[2].revents != 0) {
      session_.join();
      log(Level::info, "daemon", "unmounted");
      return std::move(session_result_);
    }
    signalfd_siginfo signal{};
    if (watched[0].revents != 0 && ::read(signals_.get(), &signal, sizeof(signal)) > 0)
      log(Level::info, "daemon", "ending on signal {}", signal.ssi_signo);
    return {};
  }
}

// The mount point goes first. Open files keep the session; then their readers get errors.
void RunningDaemon::end_session() {
  // Where this worker cannot serve another one goes on.
  if (started_)
    if (auto gone = keeper_.unmount(); !gone)
      log(Level::error, "daemon", "{}", gone.error().message);
  const auto over = [this] {
    pollfd ended{session_ended_.get(), POLLIN, 0};
    return ::poll(&ended, 1, static_cast<int>(kFarewell.count())) > 0;
  };
  if (session_.joinable() && over()) session_.join();
  if (session_.joinable()) {
    log(Level::warn, "daemon", "files are still open; their readers get errors now");
    keeper_.abort();
    if (over()) session_.join();
  }
  *served_by_.lock() = nullptr;
  server_.reset();
  if (session_.joinable()) session_.join();
}

RunningDaemon::~RunningDaemon() {
  if (control_) control_->stop();
  page_.reset();
  serving_.lock()->reset();
  commands_.reset();
  // First, for an import may hang at a server that does not answer: the mount must not hang with it.
  end_session();
  verifications_.reset();
  imports_.reset();
  files_.reset();
  *engine_.lock() = nullptr;
  // What the store still has queued is completed, and completions go on to ask the origin and the
  // gate: both stay to the end, the origin saying no.
  if (origin_) origin_->stop();
  if (wallet_) wallet_->stop();
  prefetcher_.reset();
  if (prefetches_) prefetches_->stop();
  if (catalog_) catalog_->stop();
  prefetches_.reset();
  transfer_.reset();
  catalog_.reset();
  store_.reset();
}

}  // namespace

Result<std::unique_ptr<Daemon>> Daemon::start(Config config, Keeper& keeper) {
  auto daemon = std::make_unique<RunningDaemon>(std::move(config), keeper);
  if (auto started = daemon->start(); !started) return fail(started);
  return daemon;
}

}  // namespace hffs
