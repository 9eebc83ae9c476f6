// SPDX-License-Identifier: Apache-2.0
//
// What keeper and worker say to each other, over a pair of sockets that keep messages apart. The worker
// is not trusted: of a message from it only the kind, a number and a text of at most kMostText bytes are
// believed, and no descriptor is taken. Both are of one build, or the worker refuses the handover.
//
// Threads: any for send(); receive() is one thread's. a keeper's call does not block.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hffs/error.h"
#include "hffs/posix.h"

namespace hffs::keeper {

enum class Say : std::uint32_t {
  // Of the worker.
  handover,       // wants an answer, with a descriptor
  take_turn,      // wants an answer, which comes when it is alone
  mount,          // wants an answer, with a descriptor: the device
  may_back,       // wants an answer
  open_backing,   // wants an answer; the text is a blob's hash
  close_backing,  // a number
  read_token,     // wants an answer, with a descriptor; a user, and a process in the text
  unmount,        // wants an answer
  abort,
  replace,
  ready,
  failed,  // a Code, and why
  alive,
  // Of the keeper.
  answer,  // a Code or kFine, a number, a text
};
constexpr std::int32_t kFine = -1;

struct Message {
  Say say = Say::alive;
  std::int32_t code = kFine;
  std::int32_t number = 0;
  std::string text;
};

class Channel {
 public:
  explicit Channel(UniqueFd socket) : socket_(std::move(socket)) {}
  // The keeper's end, where nothing blocks (io: nothing is there, or the other end hears nothing); and the
  // worker's, where both do.
  static Result<std::pair<Channel, UniqueFd>> pair();

  int fd() const { return socket_.get(); }
  Result<void> send(const Message& message, const std::vector<int>& descriptors = {}) const;
  // gone: the other end is closed. `descriptors` null: none is taken.
  Result<Message> receive(std::vector<UniqueFd>* descriptors) const;

 private:
  UniqueFd socket_;
};

}  // namespace hffs::keeper
