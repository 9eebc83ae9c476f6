// SPDX-License-Identifier: Apache-2.0
//
// HttpServer: a raw HTTP/1.1 server on loopback whose every answer a test scripts, byte by byte if
// need be, and whose requests it can read. One thread per connection; the script may be called from
// any.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace hffs::test {

struct HttpRequest {
  std::string method, target, body;
  std::map<std::string, std::string> headers;  // names in lower case
  int connection = 0;                          // the how-manieth
  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

struct HttpReply {
  enum class End { keep, close, reset, hang };  // hang: until the server stops or release()
  std::string bytes;
  End end = End::keep;
  std::chrono::milliseconds delay{0};  // before the bytes
  std::chrono::milliseconds between_lines{0};
};

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// Status line, headers and, unless `headers` has its own, Content-Length.
inline HttpReply reply(int status, HttpHeaders headers = {}, const std::string& body = "") {
  std::string text = "HTTP/1.1 " + std::to_string(status) + " Status\r\n";
  bool has_length = false;
  for (const auto& [name, value] : headers) {
    text += name + ": " + value + "\r\n";
    has_length = has_length || name == "Content-Length" || name == "Transfer-Encoding";
  }
  if (!has_length) text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return {text + "\r\n" + body};
}

class HttpServer {
 public:
  using Script = std::function<HttpReply(const HttpRequest&)>;

  explicit HttpServer(Script script = {}, int port = 0) : script_(std::move(script)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int yes = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener_, 64) != 0)
      std::abort();
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { accept_all(); });
  }
  ~HttpServer() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    released_.notify_all();
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    for (auto& each : connections_) each.join();
    ::close(listener_);
  }

  int port() const { return port_; }
  std::string url(const std::string& path = "") const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }
  void script(Script script) {
    std::lock_guard lock(mutex_);
    script_ = std::move(script);
  }
  std::vector<HttpRequest> requests() {
    std::lock_guard lock(mutex_);
    return requests_;
  }
  void clear_requests() {
    std::lock_guard lock(mutex_);
    requests_.clear();
  }
  int connections() {
    std::lock_guard lock(mutex_);
    return count_;
  }
  // The most connections that were open at a time.
  std::size_t most_open() {
    std::lock_guard lock(mutex_);
    return most_open_;
  }
  // Lets what hangs go on (its connection closes).
  void release() {
    {
      std::lock_guard lock(mutex_);
      ++releases_;
    }
    released_.notify_all();
  }

 private:
  void accept_all() {
    while (true) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      std::lock_guard lock(mutex_);
      if (stopping_) {
        if (fd >= 0) ::close(fd);
        return;
      }
      if (fd < 0) continue;
      open_.insert(fd);
      most_open_ = std::max(most_open_, open_.size());
      connections_.emplace_back([this, fd, number = ++count_] { serve(fd, number); });
    }
  }

  void serve(int fd, int number) {
    std::string buffer;
    HttpRequest request;
    while (read_request(fd, buffer, request)) {
      request.connection = number;
      Script script;
      {
        std::lock_guard lock(mutex_);
        requests_.push_back(request);
        script = script_;
      }
      HttpReply answer = script ? script(request) : reply(404);
      if (request.method == "HEAD")
        answer.bytes = answer.bytes.substr(0, answer.bytes.find("\r\n\r\n") + 4);
      if (!deliver(fd, answer)) break;
    }
    std::lock_guard lock(mutex_);
    open_.erase(fd);
    ::close(fd);
  }

  bool deliver(int fd, const HttpReply& answer) {
    if (answer.delay.count() > 0) {
      std::unique_lock lock(mutex_);
      released_.wait_for(lock, answer.delay, [this] { return stopping_; });
    }
    std::string_view left = answer.bytes;
    while (!left.empty()) {
      std::size_t part = left.size();
      if (answer.between_lines.count() > 0) {
        part = std::min(part, left.find('\n') + 1);
        if (part == 0) part = left.size();
        std::unique_lock lock(mutex_);
        released_.wait_for(lock, answer.between_lines, [this] { return stopping_; });
      }
      const ssize_t sent = ::send(fd, left.data(), part, MSG_NOSIGNAL);
      if (sent <= 0) return false;
      left.remove_prefix(static_cast<std::size_t>(sent));
    }
    if (answer.end == HttpReply::End::hang) {
      std::unique_lock lock(mutex_);
      const int before = releases_;
      released_.wait(lock, [&] { return stopping_ || releases_ != before; });
    }
    if (answer.end == HttpReply::End::reset) {
      const linger now{.l_onoff = 1, .l_linger = 0};
      ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    return answer.end == HttpReply::End::keep;
  }

  static bool more(int fd, std::string& buffer) {
    char part[16'384];
    const ssize_t got = ::recv(fd, part, sizeof part, 0);
    if (got > 0) buffer.append(part, static_cast<std::size_t>(got));
    return got > 0;
  }

  static bool read_request(int fd, std::string& buffer, HttpRequest& request) {
    request = {};
    std::size_t end = 0;
    while ((end = buffer.find("\r\n\r\n")) == std::string::npos)
      if (!more(fd, buffer)) return false;
    std::string head = buffer.substr(0, end + 2);
    buffer.erase(0, end + 4);
    std::size_t line_end = head.find("\r\n");
    const std::string first = head.substr(0, line_end);
    request.method = first.substr(0, first.find(' '));
    request.target = first.substr(request.method.size() + 1);
    request.target = request.target.substr(0, request.target.find(' '));
    for (std::size_t at = line_end + 2; at < head.size(); at = line_end + 2) {
      line_end = head.find("\r\n", at);
      const std::string line = head.substr(at, line_end - at);
      std::string name = line.substr(0, line.find(':'));
      for (char& c : name) c = static_cast<char>(std::tolower(c));
      std::string value = line.substr(std::min(line.size(), name.size() + 1));
      value.erase(0, value.find_first_not_of(' '));
      request.headers[name] = value;
    }
    const std::size_t length = request.headers.contains("content-length")
                                   ? std::stoul(request.header("content-length"))
                                   : 0;
    while (buffer.size() < length)
      if (!more(fd, buffer)) return false;
    request.body = buffer.substr(0, length);
    buffer.erase(0, length);
    return true;
  }

  std::mutex mutex_;
  std::condition_variable released_;
  Script script_;
  std::vector<HttpRequest> requests_;
  std::set<int> open_;
  std::size_t most_open_ = 0;
  int count_ = 0;
  int releases_ = 0;
  bool stopping_ = false;
  int listener_ = -1;
  int port_ = 0;
  std::vector<std::thread> connections_;
  std::thread thread_;
};

}  // namespace hffs::test
