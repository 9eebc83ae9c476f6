// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <future>

#include "control_server.h"
#include "hffs/access.h"
#include "hffs/catalog.h"
#include "hffs/clock.h"
#include "hffs/daemon.h"
#include "hffs/json_text.h"
#include "hffs/pins.h"
#include "hffs/store.h"
#include "import_jobs.h"
#include "origin.h"
#include "verify_jobs.h"

namespace hffs {
namespace {

class WithDaemon final : public Conversation {
 public:
  explicit WithDaemon(ControlClient client) : client_(std::move(client)) {}
  Result<std::string> ask(std::string_view request, std::chrono::milliseconds limit, UniqueFd given) override {
    return client_.ask(request, limit, std::move(given));
  }

 private:
  ControlClient client_;
};

// The parts that jobs need, without a mount.
class WithStateDirectory final : public Conversation {
 public:
  ~WithStateDirectory() override {
    verifications_.reset();
    imports_.reset();
    if (origin_) origin_->stop();
    catalog_.reset();
    store_.reset();
  }

  Result<void> open(const Config& config);
  Result<std::string> ask(std::string_view request, std::chrono::milliseconds, UniqueFd given) override;

 private:
  uid_t user_ = 0;
  Metrics metrics_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Origin> origin_;
  std::unique_ptr<AccessControl> access_;
  std::shared_ptr<Catalog> catalog_;
  std::unique_ptr<ImportJobs> imports_;
  std::shared_ptr<VerifyJobs> verifications_;
};

Result<void> WithStateDirectory::open(const Config& config) {
  // What it makes is the next worker's.
  const auto user = prepare_worker_user(config);
  if (!user) return fail(Error(user.error()));
  if (auto became = user->become(); !became) return became;
  user_ = config.user;
  const Clock& clock = system_clock();
  auto store = Store::open({.state_dir = config.state_dir,
                            .sync_interval = config.sync_interval,
                            .limits = config.limits},
                           system_disk(), clock, metrics_);
  if (!store) return fail(store);
  store_ = std::move(*store);
  store_->bounds().protect(visit_staying_blobs);
  auto origin = open_origin(config, nullptr, [](const std::string&) {}, clock, metrics_);
  if (!origin) return fail(origin);
  origin_ = std::move(*origin);
  access_ = allow_everybody();
  auto catalog = Catalog::open({}, *origin_, *store_, *access_, clock, metrics_);
  if (!catalog) return fail(catalog);
  catalog_ = std::move(*catalog);
  imports_ = std::make_unique<ImportJobs>(std::string(), *catalog_, *store_, system_disk());
  verifications_ = std::make_shared<VerifyJobs>(catalog_, *store_, clock);
  return {};
}

Result<std::string> WithStateDirectory::ask(std::string_view request, std::chrono::milliseconds, UniqueFd given) {
  const auto parsed = parse_json(request);
  const std::string command = parsed.at("command");
  const Peer self{::getpid(), user_, ::getegid(), true};
  Result<nlohmann::json> answer =
      fail(Code::unreachable, "no daemon runs, and '{}' needs one", command);
  if (command == "import") answer = imports_->start(self, parsed, std::move(given));
  if (command == "import-progress") answer = imports_->look(self, parsed);
  if (command == "verify") {
    std::promise<Result<nlohmann::json>> started;
    verifications_->start(self, parsed, [&](auto how) { started.set_value(std::move(how)); });
    answer = started.get_future().get();
  }
  if (command == "verify-progress") answer = verifications_->look(self, parsed);
  if (!answer) return fail(answer);
  return json_text(*answer);
}

}  // namespace

Result<std::unique_ptr<Conversation>> Conversation::with_daemon(const Config& config) {
  auto daemon = ControlClient::connect(control_socket(config.state_dir));
  if (!daemon) return fail(daemon);
  return std::make_unique<WithDaemon>(std::move(*daemon));
}

Result<std::unique_ptr<Conversation>> Conversation::open(const Config& config) {
  auto daemon = with_daemon(config);
  if (daemon || daemon.error().code != Code::unreachable) return daemon;
  auto here = std::make_unique<WithStateDirectory>();
  if (auto opened = here->open(config); !opened) return fail(opened);
  return here;
}

}  // namespace hffs
