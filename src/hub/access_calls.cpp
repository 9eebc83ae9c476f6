// SPDX-License-Identifier: Apache-2.0
#include "access_calls.h"

#include <algorithm>

#include "answers.h"
#include "ask.h"
#include "paths.h"

namespace hffs::hub {
namespace {

struct AccessQuestion {
  RepoId repo;
  Secret token;
  Instant deadline;

  std::string what() const { return fmt::format("access to {}", repo.text()); }
};

// A file that nearly every repository has; that it is missing is an answer of who may read it.
void ask_access_by_head(Session& session, const AccessQuestion& asked, Done<void> done) {
  Question question{.method = Method::head,
                    .path = resolve_path(asked.repo, "main", ".gitattributes"),
                    .what = asked.what(),
                    .deadline = asked.deadline,
                    .stop_when_leaving = true,
                    .token = asked.token};
  auto read = [what = asked.what()](const Answer& answer) -> Result<bool> {
    const bool told = answer.verdict == Verdict::ok || answer.verdict == Verdict::entry_missing ||
                      answer.verdict == Verdict::revision_missing;
    if (!told) return refused(answer, what);
    return true;
  };
  ask<bool>(session, std::move(question), std::move(read),
            [done = std::move(done)](Result<bool> may) mutable {
              if (!may) return done(fail(may));
              done({});
            });
}

}  // namespace

void ask_access(Session& session, const RepoId& repo, Secret token, Instant deadline,
                Done<void> done) {
  AccessQuestion asked{repo, std::move(token), deadline};
  const bool lacks = std::all_of(session.endpoints.begin(), session.endpoints.end(),
                                 [](const Endpoint& each) { return each.lacks_auth_check; });
  if (lacks) return ask_access_by_head(session, asked, std::move(done));
  auto read = [&session, what = asked.what()](const Answer& answer) -> Result<bool> {
    if (answer.verdict == Verdict::ok) return true;
    // A 404 that does not say of what.
    if (answer.verdict != Verdict::no_route && answer.verdict != Verdict::missing)
      return refused(answer, what);
    session.endpoints[answer.endpoint].lacks_auth_check = true;
    return false;
  };
  Question question{.path = auth_check_path(asked.repo),
                    .what = asked.what(),
                    .deadline = asked.deadline,
                    .token = asked.token};
  ask<bool>(session, std::move(question), std::move(read),
            [&session, asked, done = std::move(done)](Result<bool> may) mutable {
              if (!may) return done(fail(may));
              if (*may) return done({});
              ask_access_by_head(session, asked, std::move(done));
            });
}

void ask_name(Session& session, Secret token, Instant deadline, Done<std::string> done) {
  auto read = [](const Answer& answer) -> Result<std::string> {
    if (answer.verdict == Verdict::ok) return parse_user_name(answer.body);
    Error error = refusal(answer.verdict, answer.status, answer.headers, "the token");
    // It is a question about the token alone; a 404 is an endpoint that does not have it.
    if (is_turned_down(answer.verdict)) error.code = Code::needs_login;
    if (error.code == Code::not_found) error.code = Code::unsupported;
    return fail(std::move(error));
  };
  Question question{.path = std::string(kWhoAmI),
                    .what = "the owner of the token",
                    .deadline = deadline,
                    .token = std::move(token)};
  ask<std::string>(session, std::move(question), std::move(read), std::move(done));
}

}  // namespace hffs::hub
