// SPDX-License-Identifier: Apache-2.0
//
// What strangers say over the control socket, to a daemon that has everything but its mount. An input: a letter ('o': the
// owner asks, 's': somebody else, 'r': over the socket, as bytes) and requests, one a line. Among what the daemon knows is a
// repository that nobody but the owner may hear of.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "control_address.h"
#include "control_server.h"
#include "hffs/daemon.h"
#include "world.h"

using namespace hffs;
using nlohmann::json;

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  fuzz::be_quiet();
  fuzz::use_memory_disk();
  return 0;
}

namespace {

constexpr int kInputsOfAWorld = 500;
constexpr uid_t kStranger = 4'711;
const std::string kHidden(40, 'e');  // the hidden repository's commit

class Gate final : public AccessControl {
 public:
  void decide(const Caller& caller, const RepoId& repo, Done<Pass> done) override {
    if (!sees(caller, repo)) return done(fail(Code::not_found, "there is no such repository"));
    done(Pass{});
  }
  bool sees(const Caller& caller, const RepoId& repo) override { return caller.uid != kStranger || is_open(repo); }
  bool is_open(const RepoId& repo) override { return repo.name() != "acme/hidden"; }
};

class Served final : public fuzz::World {
 public:
  Served() {
    names_.change([this] {
      names_.repos["acme/hidden"] = {.refs = {{"main", kHidden}},
                                     .trees = {{kHidden, {file("secret.txt", test::kSmall, test::kSmallText.size())}}}};
    });
    config_.user = 1'000'000;
    config_.mount_point = "/mnt/hub";
    config_.state_dir = directory_;
    config_.allow_other = true;
    config_.endpoints = {"https://huggingface.co"};
    wallet_ = std::move(*Wallet::open({.own = config_.user, .token = {}, .directory = directory_ + "/tokens", .reader = {}},
                                      system_clock()));
    policy_ = std::make_shared<const Policy>(config_.policy);
    budget_ = std::make_unique<Budget>(config_.budget, config_.user, policy_, system_clock());
    queue_ = PrefetchQueue::create({}, *catalog_, *store_, *transfer_, *budget_, system_clock());
    imports_ = std::make_unique<ImportJobs>(config_.mount_point, *catalog_, *store_, system_disk());
    verifications_ = std::make_shared<VerifyJobs>(catalog_shared(), *store_, system_clock());
    // What is known of both before anybody asks.
    for (const char* path : {"models--acme--tiny/snapshots/main/small.txt", "models--acme--hidden/snapshots/main/secret.txt"})
      (void)walk(0, path);
    commands_ = std::make_shared<Commands>(Commands::Parts{.config = config_,
                                                           .clock = system_clock(),
                                                           .metrics = metrics_,
                                                           .origin = bytes_,
                                                           .access = gate_,
                                                           .wallet = *wallet_,
                                                           .store = *store_,
                                                           .catalog = catalog_shared(),
                                                           .transfer = *transfer_,
                                                           .imports = *imports_,
                                                           .verifications = *verifications_,
                                                           .recorder = recorder_,
                                                           .activity = activity_,
                                                           .prefetches = queue_,
                                                           .read_mode = [] { return ReadMode{}; },
                                                           .budget = *budget_,
                                                           .stop = [this](const Peer& peer) {
                                                             MUST(peer.owner);
                                                             ++stopped_;
                                                           }});
    auto control = ControlServer::start({.directory = directory_, .owner = ::geteuid()},
                                        [this](const Peer& peer, const json& request, UniqueFd given, Done<json> done) {
                                          commands_->answer(peer, request, std::move(given), std::move(done));
                                        });
    MUST(control);
    control_ = std::move(*control);
  }
  ~Served() override {
    control_.reset();
    commands_.reset();
    verifications_.reset();
    imports_.reset();
    wallet_->stop();
    queue_->stop();
    queue_.reset();
    shared_.reset();
  }

  void ask(const Peer& peer, std::string_view line);
  void say(std::string_view bytes);

 private:
  // The fixture owns it; whoever has this one gives it back before.
  std::shared_ptr<Catalog> catalog_shared() {
    if (!shared_) shared_ = std::shared_ptr<Catalog>(catalog_.get(), [](Catalog*) {});
    return shared_;
  }

  Config config_;
  Gate gate_;
  Recorder recorder_;
  Activity activity_{system_clock()};
  std::shared_ptr<Catalog> shared_;
  std::unique_ptr<Wallet> wallet_;
  std::shared_ptr<const Policy> policy_;
  std::unique_ptr<Budget> budget_;
  std::shared_ptr<PrefetchQueue> queue_;
  std::unique_ptr<ImportJobs> imports_;
  std::shared_ptr<VerifyJobs> verifications_;
  std::shared_ptr<Commands> commands_;
  std::unique_ptr<ControlServer> control_;
  std::atomic<int> stopped_ = 0;
};

void check_answer(const json& answer) {
  MUST(answer.is_object());
  if (!answer.contains("error")) return;
  const json& error = answer.at("error");
  MUST(code_named(error.at("code").get<std::string>()));
  MUST(!error.at("message").get<std::string>().empty());
  // No promise was broken on the way.
  MUST(error.at("code") != info(Code::bug).name);
}

// As ControlServer::handle() has it, which is asked by say().
void Served::ask(const Peer& peer, std::string_view line) {
  const json request = json::parse(line, nullptr, false);
  if (!request.is_object() || !request.contains("command") || !request["command"].is_string()) return;
  // One answer, now or later.
  struct Told {
    std::promise<Result<json>> promise;
    std::atomic<int> times = 0;
  };
  const auto told = std::make_shared<Told>();
  auto future = told->promise.get_future();
  commands_->answer(peer, request, {}, [told](Result<json> answer) {
    MUST(++told->times == 1);
    told->promise.set_value(std::move(answer));
  });
  const bool comes = future.wait_for(fuzz::kPatience) == std::future_status::ready;
  if (!comes) fuzz::tell_threads();
  MUST(comes);
  const auto answer = future.get();
  const json said = answer ? *answer : to_json(answer.error());
  check_answer(said);
  const std::string text = said.dump(-1, ' ', false, json::error_handler_t::replace);
  if (peer.owner) return;
  // Nobody hears what he does not know.
  const std::string asked = request.dump(-1, ' ', false, json::error_handler_t::replace);
  for (const std::string_view secret : {std::string_view("secret.txt"), std::string_view(kHidden), std::string_view("acme/hidden")})
    MUST(text.find(secret) == text.npos || asked.find(secret) != asked.npos);
  if (const auto command = request.at("command"); command == "stop" || command == "import" || command == "verify")
    MUST(!answer);
}

void Served::say(std::string_view bytes) {
  const auto address = ControlAddress::of(directory_ + "/" + kControlSocketName);
  MUST(address);
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  MUST(::connect(socket.get(), address->get(), address->size()) == 0);
  (void)!::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  // What was begun is ended, and what follows is whole: it is alive, unless it has said that it ends this talk.
  const std::string_view last = "\n{\"command\":\"pins\"}\n";
  (void)!::send(socket.get(), last.data(), last.size(), MSG_NOSIGNAL);
  std::string heard;
  std::size_t lines = 0;
  bool waits = false;
  while (true) {
    pollfd end{socket.get(), POLLIN, 0};
    if (!waits) MUST(::poll(&end, 1, std::chrono::milliseconds(fuzz::kPatience).count()) == 1);
    char piece[4'096];
    const ssize_t count = waits ? 0 : ::recv(socket.get(), piece, sizeof(piece), 0);
    if (count <= 0) break;
    heard.append(piece, static_cast<std::size_t>(count));
    for (std::size_t newline; (newline = heard.find('\n')) != heard.npos;) {
      const json answer = json::parse(heard.substr(0, newline), nullptr, false);
      heard.erase(0, newline + 1);
      ++lines;
      check_answer(answer);
      if (answer.contains("pins")) return;
      if (answer == json{{"ok", true}}) waits = true;  // who waits for the end is told nothing more
    }
  }
  MUST(lines > 0 && heard.empty());
}

}  // namespace

FUZZ_TARGET(input) {
  auto& daemon = fuzz::world_for_input<Served>(kInputsOfAWorld);
  const std::uint8_t who = input.byte();
  if (who == 'r') return daemon.say(input.rest());
  const bool owner = who == 'o';
  const Peer peer{.pid = ::getpid(), .uid = owner ? 1'000'000 : kStranger, .gid = 100, .owner = owner};
  for (int requests = 0; !input.empty() && requests < 20; ++requests) daemon.ask(peer, input.line());
}
