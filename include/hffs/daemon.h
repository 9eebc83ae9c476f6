// SPDX-License-Identifier: Apache-2.0
//
// Daemon: builds the parts in the order of their arrows, mounts, serves, and takes them down in
// reverse. start() gives a mounted, answering daemon or nothing at all; stop leaves no mount and no
// thread. Threads: main thread only; start(), run() and the destructor block.
//
// Also the settings, and the sockets over which others speak to a running daemon.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hffs/bounds.h"
#include "hffs/budget.h"
#include "hffs/error.h"
#include "hffs/hub.h"
#include "hffs/keeper.h"
#include "hffs/policy.h"
#include "hffs/posix.h"
#include "hffs/prefetch.h"
#include "hffs/telemetry.h"

namespace hffs {

// Every setting, with its default. Precedence: flag over environment over file over default.
struct Config {
  uid_t user = 0;  // who runs the daemon, whatever its worker becomes
  gid_t group = 0;
  std::string mount_point;             // absolute
  std::string source = "hffs";         // what the table of mounts says stands there
  std::string state_dir;               // /var/lib/hffs for root, $XDG_CACHE_HOME/hffs else
  std::vector<std::string> endpoints;  // HF_ENDPOINT, else https://huggingface.co; file:///PATH
  Secret token;                        // HF_TOKEN, else the file HF_TOKEN_PATH, else none
  std::string ca_bundle;  // REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE; empty: the system's
  std::vector<std::string> internal_hosts;  // as in OriginOptions
  ProxyChoice proxy;  // proxy, no_proxy: they go before HTTPS_PROXY, NO_PROXY and their kin
  bool allow_other = false;
  bool user_tokens = true;  // users' token files and HF_TOKEN are looked at; else only what `hffs login` gave
  bool anonymous = false;   // no token is sent, nobody's; `token` is empty then
  std::chrono::milliseconds access_ttl{300'000};  // how long the Hub's word on who may see what is believed
  bool offline = false;  // HF_HUB_OFFLINE
  bool offline_partial = false;
  bool foreground = false;
  Level log_level = Level::info;
  std::string log_file;  // empty: standard error in the foreground, STATE/hffs-v1/hffs.log else
  std::chrono::milliseconds ref_ttl{60'000};
  std::chrono::milliseconds read_deadline{15 * 60 * 1'000};
  std::chrono::milliseconds sync_interval{2'000};
  PrefetchPolicy prefetch = PrefetchPolicy::adaptive;
  Limits limits{.max_size = 0, .min_free = std::nullopt};
  std::chrono::seconds scrub{30 * 24 * 3'600};  // all that is verified is hashed again within; 0: never
  bool strict = false;  // verify = "strict": nothing of a file is served before all of it was verified
  Policy::Rules policy;  // allow, deny, no_fetch
  BudgetLimits budget;   // user_bytes, total_bytes, user_requests, total_requests
  // What a user, and all of them together, may write into the mount; nothing: no limit.
  std::optional<std::uint64_t> user_size = std::uint64_t{256} << 30, user_files = 100'000, total_size, total_files;
  std::string status_page;  // as PageSocket takes it; empty: there is none
  int page_socket = -1;     // in a worker: what its keeper listens on, …
  std::string page_address;  // … and where that is
  bool old_kernel = false;  // fuse_features = "5.15": no passthrough, as on such a kernel
};

// What the command line says; an empty optional or list says nothing.
struct Flags {
  std::string mount_point;
  std::optional<std::string> config_file, state_dir, log_level, log_file, prefetch, max_size, min_free,
      verify, source, status_page;
  std::vector<std::string> endpoints;
  std::optional<bool> allow_other, offline, offline_partial;
  std::optional<double> ref_ttl, read_deadline;  // seconds
  bool foreground = false;
  std::optional<std::string> worker_of;    // this process is a keeper's worker: the mount point
  std::optional<std::string> worker_user;  // whom it becomes, as WorkerUser::text() has it
  std::optional<int> page_socket;          // and this descriptor the status page's, at …
  std::optional<std::string> page_address;
};
using Environment = std::function<std::optional<std::string>(std::string_view name)>;
Environment process_environment();

// Code::invalid names the flag, the variable, or the file, line and key that is wrong. Reads the
// configuration and token files.
Result<Config> load_config(const Flags& flags, const Environment& environment);
// The part of it that is enough to find a daemon by its state directory.
Result<std::string> load_state_dir(const Flags& flags, const Environment& environment);

// What a mount with these flags would use, and why; secrets are left out. Fails as load_config() does.
struct SettingsReport {
  struct Setting {
    std::string name, value;   // as JSON
    std::string source, from;  // "flag", "env", "file" or "default"; which flag, variable or file
  };
  std::string file;  // empty: there is none
  std::vector<Setting> settings;
};
Result<SettingsReport> report_config(const Flags& flags, const Environment& environment);

// Whom the worker becomes, where root runs the daemon: the system user `hffs`, which the package makes. Where there is none,
// or he cannot get to the state directory (the log says so), and where it is not root's, it stays who it is.
struct WorkerUser {
  uid_t uid = 0;
  gid_t gid = 0;

  std::string text() const;  // "UID:GID"
  static Result<WorkerUser> parse(std::string_view text);
  Result<void> become() const;  // for good, with no group beside it; in a process of one thread
};
// In the keeper, or who opens a store in its stead, before anybody has it open: in a process of one thread. What lies in the
// store is handed over. busy: somebody has it open.
Result<WorkerUser> prepare_worker_user(const Config& config);

// From here on this process is `user`, can write to its state directory and its log alone, start no program, and has no
// capability. Before any other thread is there. What of that this kernel lacks: "" if nothing.
Result<std::string> confine(const Config& config, const WorkerUser& user);

// No core dump and no other program of this user sees the tokens that this process has, in its memory or environment.
void keep_tokens_inside();

class Daemon {
 public:
  // Blocks SIGTERM, SIGINT and SIGHUP in this thread and all that it starts. `keeper` outlives it.
  static Result<std::unique_ptr<Daemon>> start(Config config, Keeper& keeper);
  virtual ~Daemon() = default;
  // Serves until the file system is unmounted or `hffs umount`, SIGTERM or SIGINT asks for the end.
  virtual Result<void> run() = 0;
};

// The store's directory below a state directory, made if need be; the log file may lie in it.
Result<std::string> make_store_directory(const std::string& state_dir);
std::string control_socket(const std::string& state_dir);
// Of `hffs adopt`: beside the store, and nobody's but root's.
std::string adopt_journal(const std::string& state_dir);

// Where browsers and Prometheus ask: "127.0.0.1:PORT", "[::1]:PORT", or "unix:/PATH", a file for who runs the daemon alone.
// The keeper's, so that workers come and go behind it. Blocks on the disk.
class PageSocket {
 public:
  // busy: somebody listens there. exists: something else lies there.
  static Result<PageSocket> listen(const std::string& address);
  PageSocket(PageSocket&& other) noexcept : socket_(std::move(other.socket_)), file_(std::move(other.file_)) {}
  ~PageSocket();  // takes the file away
  int get() const { return socket_.get(); }

 private:
  PageSocket(UniqueFd socket, std::string file) : socket_(std::move(socket)), file_(std::move(file)) {}
  UniqueFd socket_;
  std::string file_;  // empty: none
};

// A conversation with a running daemon. Blocks, at most `limit` for each answer.
class ControlClient {
 public:
  // unreachable: nobody listens there.
  static Result<ControlClient> connect(const std::string& socket);
  // One JSON object out, one back; `given` goes along. An answer {"error": …} comes back as its Error.
  Result<std::string> ask(std::string_view request, std::chrono::milliseconds limit, UniqueFd given = {});
  // Until the daemon has gone: its store is closed and its socket with it.
  Result<void> wait_for_end(std::chrono::milliseconds limit);

 private:
  explicit ControlClient(UniqueFd socket) : socket_(std::move(socket)) {}
  UniqueFd socket_;
};

// The code that an answer of the daemon calls so.
std::optional<Code> code_named(std::string_view name);

// Who answers import and verify commands about a state directory: the daemon that has it, or, where none runs,
// this process, which has it open for as long as the object lives: root's becomes whom the worker becomes, for good.
// One thread; blocks.
class Conversation {
 public:
  static Result<std::unique_ptr<Conversation>> open(const Config& config);
  // Code::unreachable: no daemon has it.
  static Result<std::unique_ptr<Conversation>> with_daemon(const Config& config);
  virtual ~Conversation() = default;
  // As ControlClient::ask().
  virtual Result<std::string> ask(std::string_view request, std::chrono::milliseconds limit, UniqueFd given = {}) = 0;
};

}  // namespace hffs
