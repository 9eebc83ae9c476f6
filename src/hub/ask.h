// SPDX-License-Identifier: Apache-2.0
//
// ask(): one question and what is made of its answer. Network thread only; nothing blocks.
#pragma once

#include <memory>

#include "metadata_call.h"

namespace hffs::hub {

inline std::unexpected<Error> refused(const Answer& answer, std::string_view what) {
  return fail(refusal(answer.verdict, answer.status, answer.headers, what));
}

// Asks on the network thread. `read` gives what the caller gets; its Code::unreachable means that
// the answer is nonsense, and asks again.
template <class T>
void ask(Session& session, Question question,
         std::move_only_function<Result<T>(const Answer&)> read, Done<T> done) {
  const auto kept = std::make_shared<Result<T>>(fail(Code::bug, "no answer was read"));
  auto reader = [kept, read = std::move(read)](const Answer& answer) mutable -> Result<void> {
    *kept = read(answer);
    if (!*kept && (*kept).error().code == Code::unreachable) return fail(Error((*kept).error()));
    return {};
  };
  auto finish = [kept, done = std::move(done)](std::optional<Error> error) mutable {
    if (error) return done(fail(std::move(*error)));
    done(std::move(*kept));
  };
  std::make_shared<MetadataCall>(session, std::move(question), std::move(reader), std::move(finish))
      ->start();
}

}  // namespace hffs::hub
