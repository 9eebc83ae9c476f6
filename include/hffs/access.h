// SPDX-License-Identifier: Apache-2.0
//
// AccessControl: may this caller see this repository? What is public everybody may see. Of the rest the
// Hub decides, by each user's own token (wallet.h); its verdict is believed for a while for that user
// alone, and where it cannot be asked the last one holds. A denial for one user is never another's.
// Threads: any. Nothing blocks; a question that needs the Hub completes later, on the network thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hffs/clock.h"
#include "hffs/error.h"
#include "hffs/hub.h"
#include "hffs/ids.h"

namespace hffs {

class Wallet;

// Who asks: taken from the FUSE request, never from what the caller says.
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  // The kernel's number of the request, which is the same when it is asked again; 0: not a request of the
  // kernel's.
  std::uint64_t request = 0;
};

// The caller may see the repository.
struct Pass {
  // For so long nobody needs to be asked about, whoever it is: the repository is public. 0: the next
  // caller may get another answer.
  std::chrono::milliseconds for_everybody{0};
};

enum class Visibility : std::uint8_t {
  unknown,  // no Hub has said
  open,     // everybody may read it
  gated,    // everybody may know of it; who was let in may read it
  hidden,   // private: for others it does not exist
};

// What is known of a repository, and kept in the index.
struct Standing {
  Visibility visibility = Visibility::unknown;
  std::vector<uid_t> readers;  // whom the Hub has let in, where not everybody is
  bool operator==(const Standing&) const = default;
};

class AccessControl {
 public:
  virtual ~AccessControl() = default;
  // not_found: for this caller the repository does not exist. denied: it exists, and the caller may
  // not read it (gated). Else why it cannot be told.
  virtual void decide(const Caller& caller, const RepoId& repo, Done<Pass> done) = 0;
  // What decide() would say without a question; false where it had to ask.
  virtual bool sees(const Caller& caller, const RepoId& repo) = 0;
  virtual bool is_open(const RepoId& repo) = 0;
  // Whether its name is no news to the caller: he sees it, or did when he was last asked about.
  virtual bool lists(const Caller& caller, const RepoId& repo) { return sees(caller, repo); }
  // Whether decide() may well say more than sees(), of a repository that the caller has not named.
  virtual bool worth_asking(const Caller& /*caller*/, const RepoId& /*repo*/) { return false; }

  // How it asks what everybody may know of a repository (what that tells is told by note() before), and
  // keeps what it has learned of one. Once, before anything is asked.
  using Look = std::function<void(const RepoId& repo, Done<RepoInfo> done)>;
  using Keep = std::function<void(const RepoId& repo, const Standing& standing)>;
  virtual void connect(Look /*look*/, Keep /*keep*/) {}
  // What the index has of it.
  virtual void recall(const RepoId& /*repo*/, const RepoId& /*canonical*/, const Standing&) {}
  // The Hub has said so now: what is to be kept of it; nothing: leave what is.
  virtual std::optional<Standing> note(const RepoId& /*repo*/, const RepoId& /*canonical*/,
                                       Visibility) {
    return {};
  }
  // While no Hub knows of it, it is visible to who brought it: kFolderItself or the daemon's own user
  // mean everybody.
  virtual void note_import(const RepoId& /*repo*/, uid_t /*importer*/) {}
  // Every verdict for this user is asked for anew.
  virtual void forget(uid_t /*user*/) {}
};

// For tests and programs that serve nobody.
std::unique_ptr<AccessControl> allow_everybody();

// The tokens of users who have been let in, as the Hub's client wants them. Made before it.
class Grants final : public Credentials {
 public:
  Grants();
  ~Grants() override;
  Secret choose(const RepoId& repo) override;
  bool note_refused(const RepoId& repo, const Secret& token) override;

  // The one that a user was let in with; an error where there is none.
  Result<Secret> token_of(const RepoId& repo, uid_t user) const;
  // `repo` as it was asked for. The latest one goes first.
  void add(const RepoId& repo, uid_t user, const Secret& token);
  void alias(const RepoId& repo, const RepoId& canonical);
  void drop(const RepoId& repo, uid_t user);
  void drop_all(const RepoId& repo);
  // Hears of each that an endpoint has turned down. Set before the first is.
  void on_refused(std::function<void(const RepoId& repo, uid_t user)> hear);

 private:
  struct Table;
  const std::unique_ptr<Table> table_;
};

struct AccessOptions {
  uid_t own = 0;  // the daemon's user: while no Hub can be asked it sees what none has said anything of
  // A verdict is asked for again, behind who profits from it, after this; in front of him after twice that.
  std::chrono::milliseconds ttl{300'000};
  std::chrono::milliseconds missing_ttl{30'000};  // how long "not for this token" is believed
  bool anonymous = false;  // nobody's token is asked about: who was let in before is not any more
  std::string endpoint = "https://huggingface.co";  // where users ask to be let in
};
// All outlive it.
std::unique_ptr<AccessControl> open_access(AccessOptions options, Origin& origin, Wallet& wallet,
                                           Grants& grants, const Clock& clock);

}  // namespace hffs
