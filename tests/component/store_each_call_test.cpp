// SPDX-License-Identifier: Apache-2.0
//
// Each call of each kind that a store makes to its disk fails once: nothing is ever wrong or
// wedged.
#include <array>

#include "fault_fixture.h"

namespace hffs::test {
namespace {

namespace fs = std::filesystem;

class EachCallTest : public FaultTest, public testing::WithParamInterface<int> {
 protected:
  void run_scenario();
};

// Everything a store does to a disk: opening, filling, a wrong blob, an import, closing, opening.
void EachCallTest::run_scenario() {
  const std::array contents{content(1, 2 * kBlockSize + 5), content(2, 700),
                            content(3, kBlockSize)};
  const Bytes imported = content(4, kBlockSize + 9);
  std::vector<std::uint64_t> numbers;
  if (!try_open()) open();  // a fault at opening leaves nothing that the next one cannot use
  for (const Bytes& bytes : contents) numbers.push_back(add(bytes));
  const std::uint64_t imported_number = add(imported);
  // The third arrives wrong.
  if (auto opened = store_->open_blob(numbers[2])) (void)fill(**opened, content(9, kBlockSize));
  const std::string source = directory_.path() + "/imported";
  for (int i = 0; i < 3; ++i) {
    write_file(source, imported);
    if (wait_for<void>([&](Done<void> done) {
          store_->import_file(imported_number, source, std::move(done));
        }))
      break;
  }
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (i == 2) wait_for_verdict(numbers[2], contents[2].size());
    ASSERT_TRUE(fill_at_last(numbers[i], contents[i])) << "blob " << i << " is wedged";
  }
  (void)store_->flush();
  heard_ = std::make_unique<Heard>();
  close();
  disk_ = &system_disk();
  open();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto opened = blob(numbers[i]);
    ASSERT_TRUE(opened->identity().verified) << i;
    ASSERT_EQ(*read_all(*opened), contents[i]) << i;
  }
  ASSERT_TRUE(fill_at_last(imported_number, imported));
  ASSERT_EQ(*read_all(*blob(imported_number)), imported);
  close();
}

// Which call fails decides what is written, and hardly which threads meet: with a sanitizer some of them do.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kFailEvery = 5;
#else
constexpr int kFailEvery = 1;
#endif

TEST_P(EachCallTest, FailsOnceAndNothingIsWrongOrWedged) {
  const Op op = static_cast<Op>(GetParam());
  int reached = 0;
  for (int nth = 0; nth < 60; nth += kFailEvery) {
    bool hit = false;
    for (const Code code : {Code::no_space, Code::io}) {
      SCOPED_TRACE(fmt::format("{} call {} fails with {}", name_of(op), nth, info(code).name));
      fs::remove_all(root());
      disk_ = &faulty_;
      fail_once(op, nth, code);
      run_scenario();
      if (HasFatalFailure()) return;
      hit = hit || failed();
      heal();
    }
    if (!hit) break;
    reached = nth + 1;
  }
  // The store resizes no file.
  if (op == Op::truncate)
    EXPECT_EQ(reached, 0);
  else
    EXPECT_GT(reached, 0) << name_of(op);
  EXPECT_LT(reached, 60);
  RecordProperty("call_sites", reached);
}
INSTANTIATE_TEST_SUITE_P(Ops, EachCallTest, testing::Range(0, kOps),
                         [](const auto& param) { return name_of(static_cast<Op>(param.param)); });

}  // namespace
}  // namespace hffs::test
