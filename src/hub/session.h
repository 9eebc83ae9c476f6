// SPDX-License-Identifier: Apache-2.0
//
// Session: what all calls share on the network thread: the endpoints and how they fare, the token,
// addresses of content that were signed for us. Threads: the network thread, but for health().
#pragma once

#include <array>
#include <atomic>

#include "http_loop.h"
#include "redirects.h"
#include "retry.h"
#include "signed_urls.h"

namespace hffs::hub {

// The Hub counts calls of its API and of files apart, so a limit on one does not stop the other.
enum class Budget : std::uint8_t { api, files };

struct Endpoint {
  Url base;  // its path without a '/' at the end; may be empty
  Health health;
  std::array<Instant, 2> wait_until{};  // by Budget: shared by all calls
  bool probing = false;
  Instant probed{};
  bool lacks_paths_info = false;  // it answered HEADs where this call was missing
  bool lacks_expand = false;
  bool lacks_auth_check = false;

  Instant& waits(Budget budget) { return wait_until[static_cast<std::size_t>(budget)]; }
  Url url(std::string_view path_and_query) const;
};

class Session {
 public:
  Session(const OriginOptions& options, std::vector<Endpoint> endpoints, HttpLoop& loop,
          const Clock& clock, Metrics& metrics);

  const OriginOptions options;
  HttpLoop& loop;
  const Clock& clock;
  Metrics& metrics;
  std::vector<Endpoint> endpoints;
  SignedUrls signed_urls;

  // What goes along with a question about the repository.
  Secret token_for(const RepoId& repo) const;
  // It was turned down. True: another one can be tried.
  bool note_turned_down(const RepoId& repo, const Secret& token) const;

  // Any thread.
  std::vector<Origin::Health> health() const { return *published_.lock(); }
  // What the endpoint last said that it has left for files; negative: it said nothing.
  std::atomic<std::int64_t> files_left{-1};

  // An HTTP answer came from the endpoint itself.
  void note_answer(std::size_t endpoint);
  void note_failure(std::size_t endpoint, Instant began, const Ending& ending);
  // A 429, or a 503 that says when to come again.
  void note_wait(std::size_t endpoint, Budget budget, Milliseconds wait);
  // Asks endpoints that are down for any answer, at most each probe_interval.
  void probe();
  // For content: the first untried that is up and does not ask us to wait. If none was tried yet
  // there is always one: the least bad.
  std::optional<std::size_t> endpoint_for_content(const std::vector<bool>& tried);
  void count_end(const Error* error);
  // From where a journey was sent to where it is: what bounds the next connection.
  Zone sender_of(const Journey& journey) const;
  // A redirect that was not followed, for whoever may list its host; each once.
  void note_refused(const Url& url, const std::string& why);

 private:
  void publish();

  std::set<std::string> refused_;  // origins of redirects, those that were warned of
  mutable Guarded<std::vector<Origin::Health>> published_;
};

// Base URLs as the user gave them → endpoints; none, or one that cannot be read, is an error.
Result<std::vector<Endpoint>> parse_endpoints(const std::vector<std::string>& urls);

// Debug line and warnings of one answer.
void log_answer(Method method, const Url& url, int status, const Headers& headers);

}  // namespace hffs::hub
