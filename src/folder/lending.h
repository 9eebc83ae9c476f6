// SPDX-License-Identifier: Apache-2.0
//
// What lender and borrower say to each other, a message for each question and at least one for its answer. Both are of one
// build: another version is refused. Threads: any; send() and receive() block as their sockets do.
//
// A question: version, Ask, a place. An answer: version, Code or kFine, a text, and then what was asked for; of a list as many
// messages as it takes, each with whether there are more.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "hffs/error.h"
#include "hffs/posix.h"

namespace hffs::lending {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kFine = 0xff;
constexpr std::size_t kMostBytes = std::size_t{64} << 10;
// A list goes on in another message from here on: a name is 255 bytes.
constexpr std::size_t kFullBytes = std::size_t{48} << 10;

enum class Ask : std::uint8_t { begin, list, open_file, read_link, identity };

struct Heard {
  std::string bytes;
  UniqueFd descriptor;
};
// `flags`: of sendmsg(2).
Result<void> send(int socket, std::string_view bytes, int descriptor, int flags);
// Code::cancelled: the other end has gone.
Result<Heard> receive(int socket);

}  // namespace hffs::lending
