// SPDX-License-Identifier: Apache-2.0
#include "control_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>

#include "control_address.h"
#include "hffs/json_text.h"
#include "hffs/telemetry.h"

namespace hffs {
namespace {

using Time = std::chrono::steady_clock::time_point;

constexpr std::size_t kMostRequestBytes = 4'096;
// One user cannot keep the others out.
constexpr std::size_t kMostClientsOfUser = 16;
constexpr std::size_t kMostClients = 128;
constexpr int kBacklog = 32;

std::string to_line(const nlohmann::json& value) {
  // File names need not be UTF-8.
  return json_text(value) + "\n";
}

Time now() {
  return std::chrono::steady_clock::now();
}

// One descriptor may come along where `given` is there; the kernel drops all others, which we would have to close, and
// a stranger's may hang in that.
ssize_t receive_piece(int socket, std::span<char> piece, UniqueFd* given) {
  iovec part{piece.data(), piece.size()};
  msghdr whole{};
  whole.msg_iov = &part;
  whole.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (given != nullptr) {
    whole.msg_control = control.data();
    whole.msg_controllen = CMSG_LEN(sizeof(int));  // the space has room for two
  }
  const ssize_t count = ::recvmsg(socket, &whole, MSG_CMSG_CLOEXEC);
  if (count < 0) return count;
  for (cmsghdr* each = CMSG_FIRSTHDR(&whole); each != nullptr; each = CMSG_NXTHDR(&whole, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(each), sizeof(int));
    *given = UniqueFd(descriptor);
  }
  return count;
}

}  // namespace

struct ControlServer::Client {
  std::uint64_t number = 0;
  UniqueFd socket;
  Peer peer;
  Time deadline;
  std::string in, out;
  UniqueFd given;
  bool asking = false;   // the handler has its request
  bool waiting = false;  // for the end; has no deadline
  bool closing = false;  // once `out` is sent
  bool finished = false;
};

nlohmann::json to_json(const Error& error) {
  return {{"error", {{"code", info(error.code).name}, {"message", error.message}}}};
}

void ControlServer::Inbox::ring() const {
  const std::uint64_t one = 1;
  (void)!::write(wake.get(), &one, sizeof(one));
}

ControlServer::ControlServer(ControlOptions options, Handler handler)
    : options_(std::move(options)),
      handler_(std::move(handler)),
      inbox_(std::make_shared<Inbox>()) {}

Result<std::unique_ptr<ControlServer>> ControlServer::start(ControlOptions options,
                                                            Handler handler) {
  std::unique_ptr<ControlServer> server(new ControlServer(std::move(options), std::move(handler)));
  server->inbox_->wake = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!server->inbox_->wake) return fail(system_error(errno, "making an event descriptor"));
  if (auto listening = server->listen(); !listening) return fail(listening);
  server->thread_ = std::thread([raw = server.get()] { raw->run(); });
  return server;
}

Result<void> ControlServer::listen() {
  const std::string path = options_.directory + "/" + kControlSocketName;
  auto address = ControlAddress::of(path);
  if (!address) return fail(address);
  listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_) return fail(system_error(errno, "making a socket"));
  // Whose it was has gone: the store's lock is ours.
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return fail(system_error(errno, fmt::format("removing {}", path)));
  if (::bind(listener_.get(), address->get(), address->size()) != 0 ||
      ::chmod(path.c_str(), 0666) != 0 || ::listen(listener_.get(), kBacklog) != 0)
    return fail(system_error(errno, fmt::format("listening on {}", path)));
  return {};
}

void ControlServer::stop() {
  stopping_ = true;
  inbox_->ring();
  if (thread_.joinable()) thread_.join();
  for (auto& [number, client] : clients_)
    if (!client->waiting) client->finished = true;
  drop_finished();
}

ControlServer::~ControlServer() {
  stop();
  if (listener_) ::unlink((options_.directory + "/" + kControlSocketName).c_str());
}

void ControlServer::run() try {
  while (!stopping_) {
    std::vector<pollfd> watched{{inbox_->wake.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    std::vector<Client*> order;
    for (auto& [number, client] : clients_) {
      // Who waits for an answer, or does not take it, is not listened to, only watched for its end.
      const bool talking = !client->asking && client->out.empty();
      const short events =
          static_cast<short>((talking ? POLLIN : 0) | (client->out.empty() ? 0 : POLLOUT));
      watched.push_back({client->socket.get(), events, 0});
      order.push_back(client.get());
    }
    if (::poll(watched.data(), watched.size(), poll_timeout()) < 0 && errno != EINTR) {
      log(Level::error, "control", "poll: {}", system_error(errno, "the control socket").message);
      return;
    }
    if ((watched[0].revents & POLLIN) != 0) deliver_answers();
    if ((watched[1].revents & POLLIN) != 0) accept_one();
    for (std::size_t i = 0; i < order.size(); ++i) serve(*order[i], watched[i + 2].revents);
    const Time time = now();
    for (auto& [number, client] : clients_)
      if (!client->asking && !client->waiting && client->deadline <= time) client->finished = true;
    drop_finished();
  }
  // The answer to who asked for the end.
  deliver_answers();
} catch (const std::exception& problem) {
  log(Level::error, "control", "the control socket has ended: {}", problem.what());
}

int ControlServer::poll_timeout() const {
  std::chrono::milliseconds wait{-1};
  for (const auto& [number, client] : clients_) {
    if (client->asking || client->waiting) continue;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(client->deadline - now());
    const auto least = std::max(left, std::chrono::milliseconds(0));
    wait = wait.count() < 0 ? least : std::min(wait, least);
  }
  return static_cast<int>(wait.count());
}

void ControlServer::accept_one() {
  UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) return;
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return;
  const auto of_user = std::count_if(clients_.begin(), clients_.end(), [&](const auto& item) {
    return item.second->peer.uid == credentials.uid;
  });
  if (clients_.size() >= kMostClients || static_cast<std::size_t>(of_user) >= kMostClientsOfUser) {
    const std::string line = to_line(to_json({Code::busy, "too many connections; try again", {}}));
    (void)!::send(socket.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return;
  }
  auto client = std::make_unique<Client>();
  client->number = next_client_++;
  client->socket = std::move(socket);
  client->peer = {credentials.pid, credentials.uid, credentials.gid,
                  credentials.uid == 0 || credentials.uid == options_.owner};
  client->deadline = now() + options_.silence;
  clients_.emplace(client->number, std::move(client));
}

void ControlServer::serve(Client& client, short events) {
  if ((events & POLLOUT) != 0) {
    send(client);
    take_lines(client);
  }
  if ((events & POLLIN) != 0) receive(client);
  if ((events & (POLLERR | POLLHUP | POLLNVAL)) != 0 && (events & POLLIN) == 0)
    client.finished = true;
}

void ControlServer::receive(Client& client) {
  std::array<char, kMostRequestBytes> piece;
  const ssize_t count = receive_piece(client.socket.get(), piece, client.peer.owner ? &client.given : nullptr);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    client.finished = true;
    return;
  }
  if (client.waiting || client.closing) return;  // nothing more is said to it
  client.in.append(piece.data(), static_cast<std::size_t>(count));
  take_lines(client);
}

void ControlServer::take_lines(Client& client) {
  while (!client.asking && !client.waiting && !client.closing && client.out.empty()) {
    const std::size_t end = client.in.find('\n');
    if (std::min(end, client.in.size()) > kMostRequestBytes) {
      client.closing = true;
      return say(client, to_line(to_json({Code::invalid, "the request is too long", {}})));
    }
    if (end == client.in.npos) return;
    const std::string line = client.in.substr(0, end);
    client.in.erase(0, end + 1);
    client.deadline = now() + options_.silence;
    handle(client, line);
  }
}

void ControlServer::handle(Client& client, const std::string& line) {
  const nlohmann::json request = parse_json(line);
  if (!request.is_object() || !request.contains("command") || !request["command"].is_string())
    return say(client, to_line(to_json({Code::invalid,
                                        "a request is a JSON object on one line with a string "
                                        "\"command\"",
                                        {}})));
  if (request["command"] == "wait") {
    client.waiting = true;
    return say(client, to_line({{"ok", true}}));
  }
  client.asking = true;
  std::weak_ptr<Inbox> inbox = inbox_;
  handler_(client.peer, request, std::move(client.given), [inbox, number = client.number](Result<nlohmann::json> answer) {
    const auto open = inbox.lock();
    if (!open) return;
    open->answers.lock()->push_back({number, to_line(answer ? *answer : to_json(answer.error()))});
    open->ring();
  });
}

void ControlServer::deliver_answers() {
  std::uint64_t rings = 0;
  (void)!::read(inbox_->wake.get(), &rings, sizeof(rings));
  std::vector<Inbox::Answer> answers;
  answers.swap(*inbox_->answers.lock());
  for (auto& answer : answers) {
    const auto found = clients_.find(answer.client);
    if (found == clients_.end()) continue;
    Client& client = *found->second;
    client.asking = false;
    client.deadline = now() + options_.silence;
    say(client, std::move(answer.line));
    take_lines(client);
  }
}

void ControlServer::say(Client& client, std::string line) {
  client.out += std::move(line);
  send(client);
}

void ControlServer::send(Client& client) {
  while (!client.out.empty()) {
    const ssize_t count =
        ::send(client.socket.get(), client.out.data(), client.out.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    if (count < 0) {
      client.finished = true;
      return;
    }
    client.out.erase(0, static_cast<std::size_t>(count));
  }
  if (client.closing) client.finished = true;
}

void ControlServer::drop_finished() {
  std::erase_if(clients_, [](const auto& item) { return item.second->finished; });
}

}  // namespace hffs
