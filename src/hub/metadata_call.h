// SPDX-License-Identifier: Apache-2.0
//
// MetadataCall: one question to the endpoints, with redirects, retries and failover, within a
// deadline. Network thread; listens to its own exchanges.
#pragma once

#include "session.h"
#include "verdict.h"

namespace hffs::hub {

struct Question {
  Method method = Method::get;
  std::string path;  // below the endpoint, with its query
  std::string body;  // of a POST: a form
  std::string what;  // for errors: "revision main of acme/tiny"
  Instant deadline{};
  // A HEAD of a file: at the first step away from the endpoint all is known.
  bool stop_when_leaving = false;
  // Ask only there: a fallback of a question that this endpoint answered.
  std::optional<std::size_t> endpoint;
  // What it is about: the token follows from it …
  std::optional<RepoId> repo;
  // … but for this one, which goes along whatever it is about.
  std::optional<Secret> token;
};

struct Answer {
  Verdict verdict = Verdict::nonsense;
  int status = 0;
  Headers headers;  // of the last hop
  Headers trail;    // of every hop at the endpoint itself, in order
  std::string body;
  std::size_t endpoint = 0;
  Url url;              // of the last hop
  bool at_home = true;  // that was the endpoint itself
};

class MetadataCall final : public Listener,
                           public OpenCall,
                           public std::enable_shared_from_this<MetadataCall> {
 public:
  // Takes an answer that settles the question as far as its status goes. An error means that it is
  // nonsense after all: the question is asked again, as after a failure.
  using Reader = std::move_only_function<Result<void>(const Answer&)>;
  // Once: nothing after the reader took an answer, else why none came.
  using Finish = std::move_only_function<void(std::optional<Error>)>;

  MetadataCall(Session& session, Question question, Reader reader, Finish finish);
  void start();

  void on_headers(int status, const Headers& headers) override;
  Flow on_body(std::span<const std::byte> bytes) override;
  void on_end(const Ending& ending) override;
  void shut_down() override;

 private:
  void choose();
  void ask(std::size_t endpoint);
  void send();
  void end_round();
  void attempt_failed(Error error);
  void settle();
  bool another_token();
  void end(std::optional<Error> error);
  void stop_timers();
  void set_timer(std::optional<HttpLoop::Timer>& timer, Instant due, void (MetadataCall::*then)());
  void clear_timer(std::optional<HttpLoop::Timer>& timer);
  void deadline_passed();
  void first_byte_late();

  Session& session_;
  const Question question_;
  Reader reader_;
  Finish finish_;
  std::vector<bool> asked_;  // in this round, by endpoint
  int rounds_ = 0;
  Secret token_;
  int tokens_ = 0;  // that were turned down
  bool fresh_ = true;    // nobody was asked yet
  bool broken_ = false;  // a connection failed: the next attempt takes a new one
  Error last_error_{Code::timed_out, "no answer within the deadline", {}};
  std::optional<HttpLoop::Timer> deadline_, pause_, first_byte_;
  // The attempt under way.
  std::optional<Journey> journey_;
  std::shared_ptr<Exchange> exchange_;
  Instant began_{};
  Answer answer_;
  bool has_headers_ = false;
  bool too_large_ = false;
  bool refused_ = false;  // somebody sent us where he must not
};

}  // namespace hffs::hub
