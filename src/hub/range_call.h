// SPDX-License-Identifier: Apache-2.0
//
// RangeCall: one range of one file, one attempt: the endpoint tells where the bytes lie (or sends
// them itself), the answer is checked, and what may be believed goes to the sink. An address that
// the store refuses is asked for again, once; as long as nothing was delivered the next endpoint
// may do better, after a refusal, too. Network thread; RangeHandle is for the others.
#pragma once

#include "content_check.h"
#include "session.h"

namespace hffs::hub {

class RangeCall final : public Listener,
                        public OpenCall,
                        public std::enable_shared_from_this<RangeCall> {
 public:
  RangeCall(Session& session, FileSource file, ByteRange range, std::shared_ptr<RangeSink> sink);
  void start();
  void resume();
  void cancel();

  void on_headers(int status, const Headers& headers) override;
  Flow on_body(std::span<const std::byte> bytes) override;
  void on_end(const Ending& ending) override;
  void shut_down() override { cancel(); }

 private:
  void resolve();
  void ask_endpoint();
  bool fail_over(const Error& error);
  void go(Journey journey);
  void send();
  void follow();
  void refuse(Error error);
  void resolved(SignedUrls::Found found, const Error* error);
  void land(SignedUrls::Found found, const Error* error = nullptr);
  void end_delivery(const Ending& ending);
  void end(Result<void> result);

  Session& session_;
  const FileSource file_;
  const ByteRange range_;
  std::shared_ptr<RangeSink> sink_;  // empty: on_done was called
  const std::string key_;            // the file's, among signed addresses
  bool leading_ = false;             // others wait for the address that this call finds
  bool asked_again_ = false;
  std::vector<bool> tried_;   // endpoints
  bool counted_ = false;  // the next answer is one that the endpoint counts
  bool from_memory_ = false;  // this journey began at a kept address
  // The journey under way.
  std::optional<Journey> journey_;
  std::optional<Url> store_;  // where it left the endpoint
  std::size_t endpoint_ = 0;
  Instant began_{};
  bool commit_seen_ = false;
  Secret token_;  // that went along
  int tokens_ = 0;  // that were turned down
  std::shared_ptr<Exchange> exchange_;
  // The answer under way.
  std::optional<ContentVerdict> verdict_;
  Headers headers_;
  std::uint64_t next_ = 0;  // offset of the byte that comes next
  std::size_t discarded_ = 0;
  bool turned_down_ = false;  // by the endpoint: this token may not read it
};

// What fetch_range() gives out.
class RangeHandle final : public RangeFetch {
 public:
  RangeHandle(std::weak_ptr<HttpLoop> loop, std::weak_ptr<RangeCall> call)
      : loop_(std::move(loop)), call_(std::move(call)) {}
  void resume() override;
  void cancel() override;

 private:
  std::weak_ptr<HttpLoop> loop_;
  std::weak_ptr<RangeCall> call_;
};

}  // namespace hffs::hub
