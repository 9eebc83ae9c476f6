// SPDX-License-Identifier: Apache-2.0
//
// Lending: a folder is read with the rights of whoever names it, by who has none of his own. The *lender*, a process of its
// own, looks into the folder and hands out descriptors, over a pair of sockets whose other end travels to the *borrower*.
// It lends what lies below the folder, as Folder has it: regular files, to be read, and names; nothing else, whatever
// the borrower asks for. Neither believes the other: messages are bounded and checked.
//
// Threads: start() in a process that has no other thread (it forks); a Lender is a value with one owner, whose end waits at
// most a second. borrow_folder() and the folder that it gives are one thread's; they block until the lender answers, has
// gone, or `stop` is asked for: the latter two are Code::cancelled.
#pragma once

#include <sys/types.h>

#include <stop_token>
#include <string>

#include "hffs/layout.h"

namespace hffs {

class Lender {
 public:
  // The folder is opened when it is first asked for; what is wrong with it the borrower hears.
  static Result<Lender> start(const std::string& path, bool plain);
  Lender(Lender&& other) noexcept : process_(std::exchange(other.process_, 0)), own_(std::move(other.own_)), end_(std::move(other.end_)) {}
  Lender& operator=(Lender&&) = delete;
  ~Lender();

  UniqueFd take_end() { return std::move(end_); }  // the borrower's

 private:
  Lender(pid_t process, UniqueFd own, UniqueFd end) : process_(process), own_(std::move(own)), end_(std::move(end)) {}

  pid_t process_;
  UniqueFd own_, end_;
};

// `end` may be anything: it comes from another process.
Result<OpenedFolder> borrow_folder(UniqueFd end, std::stop_token stop);

}  // namespace hffs
