// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Large arguments and results through real workers: in place or copied, while workers die, and what is left afterwards:
// descriptors, mappings, processes, and memory behind the shared file.
#include "process/test_jobs.hpp"

#include <errand/process.hpp>
#include <errand/serialize.hpp>
#include <errand/shared_vector.hpp>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <support/memory.hpp>

#include "base/sanitizers.hpp"

namespace errand::detail {
namespace {

constexpr std::size_t many = 1 << 20;  // of int: 4 MiB

shared_vector<int> counted(int first, std::size_t size) {
  auto made = shared_vector<int>::for_overwrite(size);
  for (std::size_t i = 0; i < size; ++i) made[i] = first + static_cast<int>(i);
  return made;
}
bool is_counted(shared_vector<int> const& v, int first, std::size_t size) {
  if (v.size() != size) return false;
  for (std::size_t i = 0; i < size; ++i)
    if (v[i] != first + static_cast<int>(i)) return false;
  return true;
}

// Memory behind the shared file, in bytes; 0 without a file.
std::size_t shared_bytes() {
  for (auto const& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry.path(), gone).string().find("/memfd:errand") == std::string::npos) continue;
    struct stat s {};
    if (::fstat(std::stoi(entry.path().filename()), &s) == 0) return static_cast<std::size_t>(s.st_blocks) * 512;
  }
  return 0;
}

bool is_shared(void const* address) {
  auto const* const at = static_cast<char const*>(address);
  for (auto const& [begin, end] : mappings_of_shared_file())
    if (at >= begin && at < end) return true;
  return false;
}

class large_results : public ::testing::Test {
 protected:
  void SetUp() override {
    resources_ = resources_now();
    start_zygote();
  }
  void TearDown() override {
    shut_down_processes();
    EXPECT_EQ(resources_now(), resources_) << "descriptors, mappings of the shared file, child processes";
  }
  resources resources_;
};

TEST_F(large_results, a_shared_vector_arrives_in_place_and_its_memory_is_used_again) {
  std::size_t after_first = 0;
  for (int round = 0; round < 20; ++round) {
    auto const got = test_call(counted, round, many).get();
    EXPECT_TRUE(is_counted(got, round, many));
    EXPECT_TRUE(is_shared(got.data()));
    if (round == 0) after_first = shared_bytes();
  }
  EXPECT_LE(shared_bytes(), after_first + 2 * process_worker_count() * many * sizeof(int));
}

TEST_F(large_results, a_shared_vector_inside_other_things_arrives_in_place_too) {
  auto const got = test_call([] {
    std::vector<std::pair<std::string, shared_vector<int>>> all;
    for (int i = 0; i < 3; ++i) all.emplace_back(std::to_string(i), counted(i, many / 4));
    all.emplace_back("small", counted(9, 3));
    return std::tuple{all.size(), std::move(all)};
  }).get();
  auto const& all = std::get<1>(got);
  ASSERT_EQ(all.size(), 4U);
  for (int i = 0; i < 3; ++i) {
    auto const& [name, numbers] = all[static_cast<std::size_t>(i)];
    EXPECT_EQ(name, std::to_string(i));
    EXPECT_TRUE(is_counted(numbers, i, many / 4));
    EXPECT_TRUE(is_shared(numbers.data()));
  }
  EXPECT_TRUE(is_counted(all[3].second, 9, 3));
}

TEST_F(large_results, more_pieces_than_a_message_names_arrive_all_the_same) {
  auto const got = test_call([] {
    std::vector<shared_vector<int>> all;
    for (int i = 0; i < 300; ++i) all.push_back(counted(i, 20'000));
    return all;
  }).get();
  ASSERT_EQ(got.size(), 300U);
  for (int i = 0; i < 300; ++i) EXPECT_TRUE(is_counted(got[static_cast<std::size_t>(i)], i, 20'000)) << i;
}

TEST_F(large_results, an_argument_that_is_moved_goes_in_place_and_one_that_is_not_is_copied) {
  (void)test_call([] {}).get();  // from here on there is shared memory
  auto mine = counted(3, many);
  auto const look = [](shared_vector<int> v) { return std::pair{is_counted(v, 3, many), is_shared(v.data())}; };
  auto copied = test_call(look, mine);  // test_call() moves its own copy
  EXPECT_EQ(copied.get(), std::pair(true, true));
  EXPECT_TRUE(is_counted(mine, 3, many));
  EXPECT_EQ(test_call(look, std::move(mine)).get(), std::pair(true, true));
  EXPECT_TRUE(mine.empty());  // NOLINT: moved from, like a std::vector
}

TEST_F(large_results, an_argument_that_is_returned_comes_back_whole) {
  (void)test_call([] {}).get();
  for (int round = 0; round < 3; ++round) {
    auto const got = test_call(
                         [](shared_vector<int> v) {
                           v[0] = -1;
                           return v;
                         },
                         counted(round, many))
                         .get();
    EXPECT_EQ(got[0], -1);
    EXPECT_EQ(got[many - 1], round + static_cast<int>(many) - 1);
  }
}

TEST_F(large_results, what_a_job_keeps_of_its_argument_is_its_own) {
  if (process_worker_count() != 1) GTEST_SKIP() << "needs jobs that follow one another in one worker";
  (void)test_call([] {}).get();
  static shared_vector<int> kept;
  test_call([](shared_vector<int> v) { kept = std::move(v); }, counted(1, many)).get();
  test_call([](shared_vector<int> v) { v[0] = 77; }, counted(50, many)).get();  // the same memory again
  EXPECT_TRUE(test_call([] { return is_counted(kept, 1, many); }).get());
}

TEST_F(large_results, a_result_remains_when_its_worker_is_dead_and_when_all_is_shut_down) {
  auto const got = test_call(counted, 5, many).get();
  pid_t const worker = test_call([] { return ::getpid(); }).get();
  ::kill(worker, SIGKILL);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(is_counted(test_call(counted, i, many / 4).get(), i, many / 4));
  EXPECT_TRUE(is_counted(got, 5, many));
  shut_down_processes();
  EXPECT_TRUE(is_counted(got, 5, many));
  start_zygote();
}

TEST_F(large_results, nothing_a_worker_does_later_changes_a_result_that_was_handed_over) {
  if (process_worker_count() != 1) GTEST_SKIP() << "needs jobs that follow one another in one worker";
  static int* wild = nullptr;
  auto const got = test_call([] {
    auto made = counted(8, many);
    wild = made.data();
    return made;
  }).get();
  EXPECT_THROW(test_call([] {
                 ::signal(SIGSEGV, SIG_DFL);
                 ::signal(SIGBUS, SIG_DFL);
                 for (std::size_t i = 0; i < many; ++i) const_cast<int volatile*>(wild)[i] = 0;
               }).get(),
               process_died);
  EXPECT_TRUE(is_counted(got, 8, many));
}

TEST_F(large_results, all_that_a_worker_owned_comes_back_when_it_dies) {
  (void)test_call([] {}).get();
  std::size_t const before = shared_bytes();
  for (int round = 0; round < 10; ++round)
    EXPECT_THROW(test_call([] {
                   std::vector<shared_vector<int>> owned;
                   for (int i = 0; i < 4; ++i) owned.push_back(counted(i, many));
                   ::_exit(1);
                 }).get(),
                 process_died);
  // Its death is reported first, then its memory given back: this waits for that. New workers have touched their rings.
  while (shared_bytes() > before + (std::size_t{1} << 20)) std::this_thread::yield();
}

TEST_F(large_results, a_job_that_dies_with_its_arguments_gives_them_back) {
  (void)test_call([] {}).get();
  for (int round = 0; round < 10; ++round)
    EXPECT_THROW(test_call([](shared_vector<int>, std::string) { ::_exit(1); }, counted(1, many), std::string(many, 'x')).get(),
                 process_died);
  // One piece for each, and again and again the same.
  EXPECT_LE(shared_bytes(), std::size_t{12} << 20);
}

TEST_F(large_results, more_than_there_is_fails_its_own_job_and_says_what_was_wanted) {
  constexpr std::size_t more = std::size_t{1} << 39;  // the most that one piece may have
  if (auto const reason = errand_test::reason_not_to_ask_for(more); !reason.empty()) GTEST_SKIP() << reason;
  auto const greedy = [] { return shared_vector<char>::for_overwrite(more); };
  auto other = test_call(counted, 1, many);
  try {
    (void)test_call(greedy).get();
    FAIL() << "nothing was thrown";
  } catch (std::system_error const& e) {
    EXPECT_EQ(e.code().value(), ENOMEM);
    EXPECT_NE(std::string{e.what()}.find("errand: no 549755813888 bytes of memory to share"), std::string::npos) << e.what();
  }
  EXPECT_TRUE(is_counted(other.get(), 1, many));
}

TEST_F(large_results, a_worker_that_may_map_no_more_fails_the_job_that_did_not_fit) {
  if (sanitized_memory || thread_sanitizer) GTEST_SKIP() << "a sanitizer's shadow is beyond any limit";
  auto const limited = [](std::size_t size) {
    rlimit const limit{std::size_t{1} << 30, std::size_t{1} << 30};
    ::setrlimit(RLIMIT_AS, &limit);
    return std::string(size, 's');
  };
  EXPECT_THROW((void)test_call(limited, std::size_t{600} << 20).get(), std::system_error) << "a copy too many";
  EXPECT_EQ(test_call(limited, many).get().size(), many);
}

TEST_F(large_results, strings_and_vectors_of_every_size_around_the_limits_arrive_whole) {
  auto const twice = [](std::string s, std::vector<double> v) { return std::pair{s + s, std::vector(v.rbegin(), v.rend())}; };
  for (std::size_t const size : {0U, 2040U, 2048U, 2049U, 8192U, 16'000U, 16'384U, 65'535U, 65'536U, 65'537U, 1'000'000U}) {
    std::string text(size, 'x');
    std::vector<double> numbers(size / 8);
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 23);
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<double>(i);
    auto const [t, n] = test_call(twice, text, numbers).get();
    EXPECT_TRUE(t == text + text) << size;
    EXPECT_TRUE((n == std::vector<double>(numbers.rbegin(), numbers.rend()))) << size;
  }
}

TEST_F(large_results, a_thousand_alive_at_once_are_all_right_and_all_go) {
  constexpr std::size_t size = 20'000;
  std::vector<shared_vector<int>> all;
  for (int i = 0; i < 1000; ++i) all.push_back(test_call(counted, i, size).get());
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(is_counted(all[static_cast<std::size_t>(i)], i, size)) << i;
  std::size_t const most = shared_bytes();
  EXPECT_GE(most, 1000 * size * sizeof(int));
  all.clear();
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(is_counted(test_call(counted, i, size).get(), i, size)) << i;
  EXPECT_LE(shared_bytes(), most + (std::size_t{1} << 20)) << "they were used again";
}

}  // namespace
}  // namespace errand::detail
