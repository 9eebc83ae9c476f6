// SPDX-License-Identifier: Apache-2.0
//
// Policy: what the admin of a shared mount says of it: which repositories there are for anybody, and
// which programs must not make the daemon fetch.
//
// Threads: any; nothing blocks, but held_back(), which looks at /proc.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hffs/access.h"
#include "hffs/error.h"
#include "hffs/ids.h"

namespace hffs {

// Repositories by name: "acme/*", "datasets/acme/*". `*`, `?` and `[…]` stand for what they do in a
// shell, `*` for slashes, too; a pattern is of one type, and of models where it names none.
class RepoPattern {
 public:
  // Code::invalid: nothing could ever match it.
  static Result<RepoPattern> parse(std::string_view text);
  bool matches(const RepoId& repo) const;
  std::string text() const;

 private:
  RepoPattern(RepoType type, std::string name) : type_(type), name_(std::move(name)) {}
  RepoType type_;
  std::string name_;
};

// Programs that walk through whole file systems: indexers, backups, virus scanners.
std::vector<std::string> known_crawlers();

class Policy {
 public:
  struct Rules {
    std::optional<std::vector<RepoPattern>> allow;  // nothing: all
    std::vector<RepoPattern> deny;                  // wins
    std::vector<std::string> no_fetch = known_crawlers();  // names of processes
  };
  explicit Policy(Rules rules);

  // Whether the repository exists here, for anybody.
  bool permits(const RepoId& repo) const;
  // Whether there may be one that does not.
  bool restricts() const { return rules_.allow.has_value() || !rules_.deny.empty(); }

  // The name of the process that a thread belongs to, where that must not make the daemon fetch.
  // Nothing, too, for who cannot be seen from here.
  std::optional<std::string> held_back(pid_t thread) const;

 private:
  const Rules rules_;
  std::vector<std::string> names_;  // as the kernel keeps them
};

// What the policy does not permit is not_found, and `inner` is not asked.
std::unique_ptr<AccessControl> enforce_policy(std::shared_ptr<const Policy> policy,
                                              std::unique_ptr<AccessControl> inner);

}  // namespace hffs
