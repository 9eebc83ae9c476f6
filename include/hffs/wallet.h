// SPDX-License-Identifier: Apache-2.0
//
// Wallet: the tokens of the machine's users. One that a user gave by `hffs login` is kept in the state
// directory, readable to the daemon's user alone; else it is looked for where the Hub's own clients
// would find it (HF_TOKEN, HF_TOKEN_PATH and HF_HOME of the calling process, ~/.cache/huggingface/token), by a
// process with that user's rights and a time limit, so that a dead home holds up its owner alone.
//
// Threads: any. find() never blocks; keep() and drop() write to the local disk.
// Sources: huggingface_hub 2.4.0 utils/_auth.py and constants.py for where tokens are; subuid(5).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "hffs/access.h"
#include "hffs/clock.h"
#include "hffs/error.h"
#include "hffs/hub.h"
#include "hffs/posix.h"

namespace hffs {

struct WalletOptions {
  uid_t own = 0;  // the daemon's user
  Secret token;   // … and its token
  bool anonymous = false;  // nobody has one, whatever he gave or has lying about
  std::string directory;  // of the tokens that users gave; it is made when the first one does
  // Starts such a process: it writes '+' and the token, or only that if there is none (Keeper::read_token); it ends
  // without a word if it could not look. Empty: no files are looked at.
  std::function<Result<UniqueFd>(uid_t user, pid_t process)> reader;
  std::string subuid = "/etc/subuid";
  std::chrono::milliseconds found_ttl{60'000}, missing_ttl{2'000}, patience{3'000};
};

class Wallet {
 public:
  static Result<std::unique_ptr<Wallet>> open(WalletOptions options, const Clock& clock);
  virtual ~Wallet() = default;

  // Who answers for a uid: the owner of its range in /etc/subuid (a container's users), or itself.
  virtual uid_t owner_of(uid_t user) const = 0;
  // Empty: the user has none. An error: that could not be told. `caller.uid` is an owner. Once, now or later, on
  // the wallet's thread.
  virtual void find(const Caller& caller, Done<Secret> done) = 0;
  // The one that was found has opened nothing: soon it is looked for again, for another program may have another.
  virtual void doubt(uid_t user) = 0;
  virtual Result<void> keep(uid_t user, const Secret& token) = 0;
  // Whether there was one.
  virtual Result<bool> drop(uid_t user) = 0;
  // Ends the thread; what is still asked for is not found.
  virtual void stop() = 0;
};

// Text from a file or variable → a token: nothing may stand in it that ends a header line.
Result<Secret> parse_token(std::string text, std::string_view source);

}  // namespace hffs
