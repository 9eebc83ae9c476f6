// SPDX-License-Identifier: Apache-2.0
#include "hub_client.h"

#include "access_calls.h"
#include "answers.h"
#include "ask.h"
#include "head_answer.h"
#include "paths.h"
#include "range_call.h"

namespace hffs {
namespace hub {
namespace {

constexpr std::size_t kMostPaths = 100;

// --- revision

struct RevisionQuestion {
  RepoId repo;
  std::string revision;
  Instant deadline;
  bool expand = true;  // name the fields: else the answer lists every file of the repository
  std::optional<Secret> token;
  bool again = false;  // it was asked with "expand" before

  std::string what() const { return fmt::format("revision '{}' of {}", revision, repo.text()); }
};

// Nothing: ask without "expand".
Result<std::optional<RepoInfo>> read_revision(Session& session, const RevisionQuestion& asked,
                                              const Answer& answer) {
  switch (answer.verdict) {
    case Verdict::ok: {
      if (asked.again) session.endpoints[answer.endpoint].lacks_expand = true;
      auto info = parse_repo_info(asked.repo, answer.body);
      if (!info) return fail(info);
      return std::optional(std::move(*info));
    }
    case Verdict::revision_missing:
    case Verdict::entry_missing: return std::optional(RepoInfo{.id = asked.repo});
    case Verdict::bad_request:
    case Verdict::no_route: {
      if (asked.expand) return std::optional<RepoInfo>{};
      Error error = refusal(answer.verdict, answer.status, answer.headers, asked.what());
      // The name is well-formed, so this is no statement about it that one may remember.
      error.code = Code::unreachable;
      return fail(std::move(error));
    }
    default: return refused(answer, asked.what());
  }
}

void ask_revision(Session& session, RevisionQuestion asked, Done<RepoInfo> done) {
  using Read = std::optional<RepoInfo>;
  auto read = [&session, asked](const Answer& answer) {
    return read_revision(session, asked, answer);
  };
  auto then = [&session, asked, done = std::move(done)](Result<Read> result) mutable {
    if (!result) return done(fail(result));
    if (*result) return done(std::move(**result));
    asked.expand = false;
    asked.again = true;
    ask_revision(session, std::move(asked), std::move(done));
  };
  ask<Read>(session,
            {.path = revision_path(asked.repo, asked.revision, asked.expand),
             .what = asked.what(),
             .deadline = asked.deadline,
             .repo = asked.repo,
             .token = asked.token},
            std::move(read), std::move(then));
}

// Kernels' info knows no "expand", nor do some mirrors.
bool knows_expand(const Session& session, const RepoId& repo) {
  return repo.type() != RepoType::kernel &&
         std::none_of(session.endpoints.begin(), session.endpoints.end(),
                      [](const Endpoint& each) { return each.lacks_expand; });
}

// --- tree

Result<TreePage> read_page(const Session& session, const RepoId& repo, const CommitId& commit,
                           const Cursor& cursor, const Answer& answer) {
  auto entries = parse_entries(repo, answer.body);
  if (!entries) return fail(entries);
  TreePage page{.entries = std::move(*entries)};
  if (const auto limit = parse_rate_limit(answer.headers.get("ratelimit")))
    page.calls_left = static_cast<std::uint32_t>(std::min<std::uint64_t>(limit->left, UINT32_MAX));
  const auto link = find_next_link(answer.headers.get("link"));
  if (!link) return page;
  auto path = next_page_path(session.endpoints[answer.endpoint].base, answer.url, *link, commit);
  if (!path) return fail(path);
  // Mirrors that know no pages pass the Hub's link on and send everything at once.
  if (*path == cursor.path) return page;
  if (cursor.pages >= kMostPages) return fail(Code::corrupt, "a listing without end");
  page.next = write_cursor({cursor.pages + 1, std::move(*path)});
  return page;
}

void ask_page(Session& session, const RepoId& repo, const CommitId& commit, const Cursor& cursor,
              Instant deadline, Done<TreePage> done) {
  const std::string what = fmt::format("the tree of {} at {}", repo.text(), commit.hex());
  auto read = [&session, repo, commit, cursor, what](const Answer& answer) -> Result<TreePage> {
    if (answer.verdict != Verdict::ok) {
      Error error = refusal(answer.verdict, answer.status, answer.headers, what);
      // Name and commit are well-formed: only its own cursor may an endpoint find wrong.
      if (answer.verdict == Verdict::bad_request && cursor.pages == 0)
        error.code = Code::unreachable;
      return fail(std::move(error));
    }
    return read_page(session, repo, commit, cursor, answer);
  };
  ask<TreePage>(session, {.path = cursor.path, .what = what, .deadline = deadline, .repo = repo},
                std::move(read), std::move(done));
}

// --- paths

struct HeadWalk {
  RepoId repo;
  CommitId commit;
  std::vector<std::string> paths;
  std::size_t endpoint = 0;
  Instant deadline;
  Done<std::vector<TreeEntry>> done;
  std::vector<TreeEntry> found;
  std::size_t next = 0;
};

void ask_heads(Session& session, std::shared_ptr<HeadWalk> walk);

// What HEAD does not know may be a directory.
void ask_directory(Session& session, std::shared_ptr<HeadWalk> walk, const std::string& path,
                   Result<std::optional<TreeEntry>> head) {
  Question question{.path = directory_path(walk->repo, walk->commit, path),
                    .what = fmt::format("directory {} of {}", path, walk->repo.text()),
                    .deadline = walk->deadline,
                    .endpoint = walk->endpoint,
                    .repo = walk->repo};
  const auto before = std::make_shared<Result<std::optional<TreeEntry>>>(std::move(head));
  auto read = [walk, path, before](const Answer& answer) -> Result<std::optional<TreeEntry>> {
    if (answer.verdict == Verdict::entry_missing || answer.verdict == Verdict::missing)
      return *before;
    if (answer.verdict != Verdict::ok) return refused(answer, path);
    const auto entries = parse_entries(walk->repo, answer.body);
    if (!entries) return fail(entries.error());
    if (entries->empty()) return *before;
    return TreeEntry{.kind = TreeEntry::Kind::directory, .path = path};
  };
  ask<std::optional<TreeEntry>>(session, std::move(question), std::move(read),
                                [&session, walk](Result<std::optional<TreeEntry>> entry) {
                                  if (!entry) return walk->done(fail(entry));
                                  if (*entry) walk->found.push_back(std::move(**entry));
                                  ask_heads(session, walk);
                                });
}

// One path after the other: this is for a path or two.
void ask_heads(Session& session, std::shared_ptr<HeadWalk> walk) {
  if (walk->next == walk->paths.size()) {
    // It has the commit and answers for its files: what it lacks is paths-info.
    if (!walk->found.empty()) session.endpoints[walk->endpoint].lacks_paths_info = true;
    return walk->done(std::move(walk->found));
  }
  using Read = std::optional<TreeEntry>;
  const std::string& path = walk->paths[walk->next++];
  Question question{.method = Method::head,
                    .path = resolve_path(walk->repo, walk->commit.hex(), path),
                    .what = fmt::format("{} of {}", path, walk->repo.text()),
                    .deadline = walk->deadline,
                    .stop_when_leaving = true,
                    .endpoint = walk->endpoint,
                    .repo = walk->repo};
  auto read = [walk, path](const Answer& answer) { return read_head(answer, walk->commit, path); };
  ask<Read>(session, std::move(question), std::move(read),
            [&session, walk, path](Result<Read> entry) {
              const bool absent = entry ? !*entry : entry.error().code == Code::not_found;
              if (absent) return ask_directory(session, walk, path, std::move(entry));
              if (!entry) return walk->done(fail(entry));
              walk->found.push_back(std::move(**entry));
              ask_heads(session, walk);
            });
}

void ask_paths(Session& session, const RepoId& repo, const CommitId& commit,
               std::vector<std::string> paths, Instant deadline,
               Done<std::vector<TreeEntry>> done) {
  auto walk = std::make_shared<HeadWalk>(
      HeadWalk{repo, commit, std::move(paths), 0, deadline, std::move(done), {}, 0});
  for (const Endpoint& each : session.endpoints) {
    if (!each.health.up()) continue;
    if (!each.lacks_paths_info) break;
    walk->endpoint = static_cast<std::size_t>(&each - session.endpoints.data());
    return ask_heads(session, walk);
  }
  Question question{.method = Method::post,
                    .path = paths_info_path(repo, commit),
                    .body = paths_form(walk->paths),
                    .what = fmt::format("paths of {} at {}", repo.text(), commit.hex()),
                    .deadline = deadline,
                    .repo = repo};
  using Read = std::optional<std::vector<TreeEntry>>;  // nothing: the endpoint lacks paths-info
  auto read = [walk, what = question.what](const Answer& answer) -> Result<Read> {
    walk->endpoint = answer.endpoint;
    if (answer.verdict == Verdict::no_route || answer.verdict == Verdict::missing) return Read{};
    if (answer.verdict != Verdict::ok) return refused(answer, what);
    auto entries = parse_entries(walk->repo, answer.body);
    if (!entries) return fail(entries);
    return Read(std::move(*entries));
  };
  ask<Read>(session, std::move(question), std::move(read), [&session, walk](Result<Read> result) {
    if (!result) return walk->done(fail(result));
    if (*result) return walk->done(std::move(**result));
    ask_heads(session, walk);
  });
}

}  // namespace

HubClient::HubClient(const OriginOptions& options, std::vector<Endpoint> endpoints,
                     std::shared_ptr<HttpLoop> loop, const Clock& clock, Metrics& metrics)
    : loop_(std::move(loop)),
      session_(options, std::move(endpoints), *loop_, clock, metrics),
      clock_(clock) {}

HubClient::~HubClient() {
  loop_->stop();
}

void HubClient::stop() {
  loop_->stop();
}

template <class T>
void HubClient::call(Done<T> done, std::move_only_function<void(Instant, Done<T>)> work) {
  const Instant deadline = clock_.now() + session_.options.metadata_deadline;
  const auto shared = std::make_shared<Done<T>>(std::move(done));
  const bool posted = loop_->post([this, shared, deadline, work = std::move(work)]() mutable {
    if (session_.options.offline)
      return (*shared)(fail(Code::offline, "offline: no request is sent"));
    work(deadline, std::move(*shared));
  });
  if (!posted) (*shared)(fail(Code::cancelled, "shutting down"));
}

void HubClient::fetch_revision(const RepoId& repo, const std::string& revision,
                               Done<RepoInfo> done) {
  call<RepoInfo>(std::move(done), [this, repo, revision](Instant deadline, Done<RepoInfo> then) {
    auto checked = parse_revision(revision);
    if (!checked) return then(fail(checked));
    ask_revision(session_,
                 {.repo = repo, .revision = revision, .deadline = deadline,
                  .expand = knows_expand(session_, repo)},
                 std::move(then));
  });
}

void HubClient::look(const RepoId& repo, Done<RepoInfo> done) {
  call<RepoInfo>(std::move(done), [this, repo](Instant deadline, Done<RepoInfo> then) {
    ask_revision(session_,
                 {.repo = repo, .revision = "main", .deadline = deadline,
                  .expand = knows_expand(session_, repo), .token = session_.options.token},
                 std::move(then));
  });
}

void HubClient::check_access(const RepoId& repo, Secret token, Done<void> done) {
  call<void>(std::move(done), [this, repo, token = std::move(token)](Instant deadline,
                                                                     Done<void> then) mutable {
    ask_access(session_, repo, std::move(token), deadline, std::move(then));
  });
}

void HubClient::ask_name(Secret token, Done<std::string> done) {
  call<std::string>(std::move(done), [this, token = std::move(token)](
                                         Instant deadline, Done<std::string> then) mutable {
    hub::ask_name(session_, std::move(token), deadline, std::move(then));
  });
}

void HubClient::fetch_tree_page(const RepoId& repo, const CommitId& commit,
                                const std::string& cursor, Done<TreePage> done) {
  call<TreePage>(std::move(done),
                 [this, repo, commit, cursor](Instant deadline, Done<TreePage> then) {
                   Result<Cursor> at = Cursor{0, tree_path(repo, commit)};
                   if (!cursor.empty()) at = read_cursor(cursor, commit);
                   if (!at) return then(fail(at));
                   ask_page(session_, repo, commit, *at, deadline, std::move(then));
                 });
}

void HubClient::fetch_paths(const RepoId& repo, const CommitId& commit,
                            std::vector<std::string> paths, Done<std::vector<TreeEntry>> done) {
  using Entries = std::vector<TreeEntry>;
  call<Entries>(std::move(done), [this, repo, commit, paths = std::move(paths)](
                                     Instant deadline, Done<Entries> then) mutable {
    if (paths.size() > kMostPaths) return then(fail(Code::bug, "too many paths in one question"));
    std::erase_if(paths, [](const std::string& path) { return !parse_repo_path(path); });
    if (paths.empty()) return then(Entries{});
    ask_paths(session_, repo, commit, std::move(paths), deadline, std::move(then));
  });
}

void HubClient::fetch_refs(const RepoId& repo, Done<RefList> done) {
  call<RefList>(std::move(done), [this, repo](Instant deadline, Done<RefList> then) {
    const std::string what = fmt::format("the refs of {}", repo.text());
    ask<RefList>(
        session_, {.path = refs_path(repo), .what = what, .deadline = deadline, .repo = repo},
        [repo, what](const Answer& answer) -> Result<RefList> {
          if (answer.verdict != Verdict::ok) return refused(answer, what);
          return parse_refs(repo, answer.body);
        },
        std::move(then));
  });
}

std::shared_ptr<RangeFetch> HubClient::fetch_range(const FileSource& file, ByteRange range,
                                                   std::shared_ptr<RangeSink> sink) {
  const auto call = std::make_shared<RangeCall>(session_, file, range, sink);
  const bool posted = loop_->post([this, call, sink, file, range] {
    if (session_.options.offline)
      return sink->on_done(fail(Code::offline, "offline: no request is sent"));
    if (range.empty() || range.offset >= file.size || range.size > file.size - range.offset)
      return sink->on_done(fail(Code::bug, "a range outside of the file"));
    call->start();
  });
  if (!posted) sink->on_done(fail(Code::cancelled, "shutting down"));
  return std::make_shared<RangeHandle>(loop_, call);
}

std::optional<std::uint32_t> HubClient::files_left() const {
  const std::int64_t left = session_.files_left;
  if (left < 0) return std::nullopt;
  return static_cast<std::uint32_t>(left);
}

std::vector<Origin::Health> HubClient::health() const {
  return session_.health();
}

}  // namespace hub

Result<std::unique_ptr<Origin>> open_hub(OriginOptions options, const Clock& clock,
                                         Metrics& metrics) {
  auto endpoints = hub::parse_endpoints(options.endpoints);
  if (!endpoints) return fail(endpoints);
  if (auto started = hub::start_curl(); !started) return fail(started);
  auto settings = hub::read_transport_settings(options);
  if (!settings) return fail(settings);
  auto loop = hub::HttpLoop::open(std::move(*settings), options.connections, clock);
  if (!loop) return fail(loop);
  return std::make_unique<hub::HubClient>(options, std::move(*endpoints),
                                          std::shared_ptr<hub::HttpLoop>(std::move(*loop)), clock,
                                          metrics);
}

}  // namespace hffs
