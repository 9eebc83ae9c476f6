// SPDX-License-Identifier: Apache-2.0
#include "engine.h"
#include "hffs/transfer.h"

namespace hffs {
namespace transfer {
namespace {

class Handle final : public TransferEngine {
 public:
  explicit Handle(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) { engine_->start(); }
  ~Handle() override { engine_->stop(); }
  std::uint64_t fetch(std::shared_ptr<Blob> blob, std::vector<FileSource> sources, ByteRange range,
                      std::stop_token stop, Done<void> done) override {
    return engine_->fetch(std::move(blob), std::move(sources), range, std::move(stop),
                          std::move(done));
  }
  std::uint64_t fetch_ahead(std::shared_ptr<Blob> blob, std::vector<FileSource> sources,
                            ByteRange range, Done<void> done) override {
    return engine_->fetch(std::move(blob), std::move(sources), range, {}, std::move(done), true);
  }
  void note_corrupt(std::uint64_t number) override { engine_->note_corrupt(number); }
  Snapshot snapshot() const override { return engine_->snapshot(); }

 private:
  std::shared_ptr<Engine> engine_;
};

}  // namespace
}  // namespace transfer

std::unique_ptr<TransferEngine> TransferEngine::create(TransferOptions options, Origin& origin,
                                                       Store&, const Clock& clock,
                                                       Metrics& metrics) {
  return std::make_unique<transfer::Handle>(
      std::make_shared<transfer::Engine>(options, origin, clock, metrics));
}

}  // namespace hffs
