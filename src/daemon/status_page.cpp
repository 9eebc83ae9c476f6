// SPDX-License-Identifier: Apache-2.0
#include "status_page.h"

#include <microhttpd.h>
#include <strings.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <optional>
#include <set>
#include <thread>

#include "exposition.h"
#include "hffs/guarded.h"
#include "hffs/json_text.h"
#include "hffs/telemetry.h"
#include "page_files.h"
#include "page_socket.h"

namespace hffs {
namespace {

using nlohmann::json;
using Time = std::chrono::steady_clock::time_point;

constexpr unsigned kMostConnections = 64;
constexpr std::size_t kMostHead = 16'384;  // bytes
constexpr std::chrono::seconds kPatience{15};

constexpr std::pair<const char*, const char*> kHeaders[] = {
    {"Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cache-Control", "no-store"},
};

struct Reply {
  unsigned status = 200;
  std::string type, text;
};

Reply to_reply(const Error& error) {
  unsigned status = 503;
  if (error.code == Code::denied) status = 403;
  if (error.code == Code::not_found) status = 404;
  if (error.code == Code::invalid) status = 400;
  if (error.code == Code::bug) status = 500;
  return {status, "application/json", json_text(hffs::to_json(error)) + "\n"};
}

Reply in_words(unsigned status, std::string_view words) {
  return {status, "text/plain; charset=utf-8", std::string(words) + "\n"};
}

MHD_Result queue(MHD_Connection* connection, const Reply& reply) {
  MHD_Response* response = MHD_create_response_from_buffer(reply.text.size(), const_cast<char*>(reply.text.data()),
                                                           MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  for (const auto& [name, value] : kHeaders) MHD_add_response_header(response, name, value);
  MHD_add_response_header(response, "Content-Type", reply.type.c_str());
  if (reply.status == MHD_HTTP_METHOD_NOT_ALLOWED) MHD_add_response_header(response, "Allow", "GET, HEAD");
  const MHD_Result queued = MHD_queue_response(connection, reply.status, response);
  MHD_destroy_response(response);
  return queued;
}

std::string header(MHD_Connection* connection, const char* name) {
  const char* value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
  return value == nullptr ? std::string() : value;
}

// An argument that is a number is one in the question, too.
void take(MHD_Connection* connection, const char* name, bool number, json& into) {
  const char* value = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);
  if (value == nullptr) return;
  const std::string_view text = value;
  std::uint64_t read = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), read);
  if (number && end.ec == std::errc() && end.ptr == text.data() + text.size())
    into[name] = read;
  else
    into[name] = text;
}

std::optional<json> question_of(MHD_Connection* connection, std::string_view path) {
  if (path == "/api/activity" || path == "/metrics") return json{{"command", "activity"}};
  if (path == "/api/status") return json{{"command", "status"}};
  json request;
  if (path == "/api/repos") request = {{"command", "ls"}};
  if (path == "/api/files") request = {{"command", "files"}, {"parts", true}};
  if (request.is_null()) return std::nullopt;
  take(connection, "from", true, request);
  if (path == "/api/files") {
    take(connection, "repo", false, request);
    take(connection, "commit", false, request);
  }
  return request;
}

// A question that the daemon has not answered yet: its connection rests meanwhile.
struct Pending {
  MHD_Connection* connection = nullptr;
  bool figures = false;  // for Prometheus
  std::optional<Reply> reply;
};

// What answers find though the page has gone.
using Desk = Guarded<std::set<std::shared_ptr<Pending>>>;

void settle(Desk& desk, const std::shared_ptr<Pending>& pending, Reply reply) {
  auto open = desk.lock();
  if (open->erase(pending) == 0) return;
  pending->reply = std::move(reply);
  MHD_resume_connection(pending->connection);
}

class Served final : public StatusPage {
 public:
  Served(std::string address, uid_t owner, Ask ask)
      : address_(std::move(address)), owner_(owner), ask_(std::move(ask)) {}
  ~Served() override;
  Result<void> start(UniqueFd socket);

 private:
  struct Visitor {
    int socket = -1;
    Result<Peer> peer;
    Time deadline;
  };
  using Visitors = std::set<Visitor*>;

  static MHD_Result on_request(void* self, MHD_Connection* connection, const char* path, const char* method, const char*,
                               const char*, std::size_t* body, void** request);
  static void on_answered(void* self, MHD_Connection* connection, void** request, MHD_RequestTerminationCode);
  static void on_visit(void* self, MHD_Connection* connection, void** visitor, MHD_ConnectionNotificationCode what);

  std::optional<Reply> refuse(MHD_Connection* connection, std::string_view method) const;
  MHD_Result answer(MHD_Connection* connection, std::string_view path, std::shared_ptr<Pending>& pending);
  void watch(const std::stop_token& stop);

  const std::string address_;
  const uid_t owner_;
  const Ask ask_;
  const std::shared_ptr<Desk> desk_ = std::make_shared<Desk>();
  Guarded<Visitors> visitors_;
  MHD_Daemon* server_ = nullptr;
  std::condition_variable_any wake_;
  std::jthread watcher_;
};

Result<void> Served::start(UniqueFd socket) {
  server_ = MHD_start_daemon(
      MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, nullptr, nullptr, &Served::on_request, this,
      MHD_OPTION_LISTEN_SOCKET, socket.get(), MHD_OPTION_CONNECTION_LIMIT, kMostConnections,
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, kMostHead, MHD_OPTION_CONNECTION_TIMEOUT,
      static_cast<unsigned>(kPatience.count()), MHD_OPTION_NOTIFY_COMPLETED, &Served::on_answered, this,
      MHD_OPTION_NOTIFY_CONNECTION, &Served::on_visit, this, MHD_OPTION_END);
  if (server_ == nullptr) return fail(Code::io, "the status page cannot be served at {}", address_);
  (void)socket.release();  // the library's now
  watcher_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
  return {};
}

Served::~Served() {
  if (server_ == nullptr) return;
  // The library does not end while a connection rests.
  const std::set<std::shared_ptr<Pending>> left = *desk_->lock();
  for (const auto& each : left) settle(*desk_, each, to_reply({Code::cancelled, "the daemon is ending", {}}));
  MHD_stop_daemon(server_);
}

// Drips of bytes keep a connection busy for the library; here they do not.
void Served::watch(const std::stop_token& stop) {
  auto visitors = visitors_.lock();
  while (!stop.stop_requested()) {
    const Time now = std::chrono::steady_clock::now();
    for (const Visitor* each : *visitors)
      if (each->deadline <= now) ::shutdown(each->socket, SHUT_RDWR);
    visitors.unlock();
    std::mutex idle;
    std::unique_lock held(idle);
    wake_.wait_for(held, stop, std::chrono::seconds(1), [] { return false; });
    visitors = visitors_.lock();
  }
}

void Served::on_visit(void* self, MHD_Connection* connection, void** context, MHD_ConnectionNotificationCode what) {
  auto& page = *static_cast<Served*>(self);
  if (what == MHD_CONNECTION_NOTIFY_STARTED) {
    const int socket = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    auto* visitor = new Visitor{socket, who_connected(socket, page.owner_), std::chrono::steady_clock::now() + kPatience};
    page.visitors_.lock()->insert(visitor);
    *context = visitor;
    return;
  }
  auto* visitor = static_cast<Visitor*>(*context);
  page.visitors_.lock()->erase(visitor);
  delete visitor;
}

void Served::on_answered(void* self, MHD_Connection* connection, void** request, MHD_RequestTerminationCode) {
  delete static_cast<std::shared_ptr<Pending>*>(*request);
  *request = nullptr;
  const auto* known = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  auto visitors = static_cast<Served*>(self)->visitors_.lock();
  if (known != nullptr && known->socket_context != nullptr)
    static_cast<Visitor*>(known->socket_context)->deadline = std::chrono::steady_clock::now() + kPatience;
}

std::optional<Reply> Served::refuse(MHD_Connection* connection, std::string_view method) const {
  if (method != "GET" && method != "HEAD") return in_words(MHD_HTTP_METHOD_NOT_ALLOWED, "GET and HEAD are answered");
  if (!names_this_machine(header(connection, "Host"), address_))
    return in_words(MHD_HTTP_MISDIRECTED_REQUEST, "this page is asked for as localhost, 127.0.0.1 or [::1]");
  if (!header(connection, "Transfer-Encoding").empty() || !header(connection, "Content-Length").empty())
    return in_words(MHD_HTTP_BAD_REQUEST, "a question has no content");
  return std::nullopt;
}

MHD_Result Served::on_request(void* self, MHD_Connection* connection, const char* path, const char* method, const char*,
                              const char*, std::size_t* body, void** request) try {
  auto& page = *static_cast<Served*>(self);
  auto* known = static_cast<std::shared_ptr<Pending>*>(*request);
  if (known == nullptr) {  // its head has come
    *request = new std::shared_ptr<Pending>();
    const auto refused = page.refuse(connection, method);
    return refused ? queue(connection, *refused) : MHD_YES;
  }
  if (*body != 0) return MHD_NO;
  return page.answer(connection, path, *known);
} catch (const std::exception& problem) {
  log(Level::error, "page", "{} was not answered: {}", path, problem.what());
  return MHD_NO;
}

MHD_Result Served::answer(MHD_Connection* connection, std::string_view path, std::shared_ptr<Pending>& pending) {
  if (pending) {  // it rested, and goes on
    const auto open = desk_->lock();
    return queue(connection, *pending->reply);
  }
  for (const PageFile& file : page_files())
    if (file.path == path) return queue(connection, {200, std::string(file.type), std::string(file.text)});
  const auto question = question_of(connection, path);
  if (!question) return queue(connection, in_words(MHD_HTTP_NOT_FOUND, "there is no such page"));
  // A browser says who made it ask; programs say nothing.
  const std::string site = header(connection, "Sec-Fetch-Site");
  if (!site.empty() && site != "same-origin" && site != "none")
    return queue(connection, in_words(MHD_HTTP_FORBIDDEN, "another site asks"));
  const auto* known = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  const auto& peer = static_cast<const Visitor*>(known->socket_context)->peer;
  if (!peer) return queue(connection, in_words(MHD_HTTP_FORBIDDEN, peer.error().message));

  pending = std::make_shared<Pending>(Pending{.connection = connection, .figures = path == "/metrics", .reply = {}});
  desk_->lock()->insert(pending);
  MHD_suspend_connection(connection);
  ask_(*peer, *question, [desk = desk_, pending = pending](Result<json> found) {
    if (!found) return settle(*desk, pending, to_reply(found.error()));
    if (pending->figures) return settle(*desk, pending, {200, kExpositionType, exposition(*found)});
    settle(*desk, pending, {200, "application/json", json_text(*found) + "\n"});
  });
  return MHD_YES;
}

}  // namespace

std::unique_ptr<StatusPage> StatusPage::open(const Config& config, Ask ask) {
  UniqueFd socket(config.page_socket);
  if (config.status_page != config.page_address)
    log(Level::warn, "daemon", "status_page has changed: that counts once the mount begins anew");
  if (!socket) return nullptr;
  int listens = 0;
  socklen_t size = sizeof(listens);
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) {
    log(Level::warn, "daemon", "there is no status page: the keeper has left no socket for it");
    (void)socket.release();  // somebody else's
    return nullptr;
  }
  if (config.status_page.empty()) {
    // Who connects is told so; the keeper has the socket still.
    ::shutdown(socket.get(), SHUT_RDWR);
    return nullptr;
  }
  auto page = std::make_unique<Served>(config.page_address, config.user, std::move(ask));
  if (auto started = page->start(std::move(socket)); !started) {
    log(Level::error, "daemon", "{}", started.error().message);
    return nullptr;
  }
  return page;
}

bool names_this_machine(std::string_view host, std::string_view address) {
  const auto without_port = [](std::string_view text) {
    const std::size_t colon = text.rfind(':');
    return colon == text.npos || text.ends_with(']') ? text : text.substr(0, colon);
  };
  const std::string_view name = without_port(host);
  const auto is = [&](std::string_view known) {
    return name.size() == known.size() && ::strncasecmp(name.data(), known.data(), known.size()) == 0;
  };
  return is("localhost") || is("127.0.0.1") || is("[::1]") || (address.starts_with("127.") && is(without_port(address)));
}

}  // namespace hffs
