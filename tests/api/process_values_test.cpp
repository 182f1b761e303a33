// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What may be given to a function in another process and what may come back: values of every kind, functions of every
// kind, and what happens when a value cannot be made into bytes or read again.
#include <errand/process.hpp>
#include <errand/serialize.hpp>
#include <errand/shared_vector.hpp>

#include <gtest/gtest.h>

#include <unistd.h>

#include <array>
#include <chrono>
#include <complex>
#include <cstdlib>
#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

using namespace std::string_literals;
using errand::async;
using errand::by_value;
using errand::processes;

namespace {

// In main's process, before the zygote is forked; the workers see it unchanged.
pid_t const program = ::getpid();

struct point {
  double x;
  double y;
  bool operator==(point const&) const = default;
};
enum class colour : char { red, green };

class account {  // the pair save and load
 public:
  account() = default;
  account(std::string owner, int cents) : owner_{std::move(owner)}, cents_{cents} {}
  account deposited(int cents) const { return {owner_, cents_ + cents}; }
  bool operator==(account const&) const = default;
  template <class Archive>
  void save(Archive& archive) const {
    archive(owner_, cents_);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(owner_, cents_);
  }

 private:
  std::string owner_;
  int cents_ = 0;
};

struct tree {  // a member serialize; it holds itself
  std::string name;
  std::vector<tree> below;
  std::unique_ptr<point> place;
  std::shared_ptr<account> owner;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(name), below, place, owner);
  }
};

struct beside {  // a free serialize
  std::string text;
};
template <class Archive>
void serialize(Archive& archive, beside& b) {
  archive(b.text);
}

struct shape {
  virtual ~shape() = default;
  [[nodiscard]] virtual double area() const = 0;
};
struct square final : shape {
  double side = 0;
  square() = default;
  explicit square(double s) : side{s} {}
  [[nodiscard]] double area() const override { return side * side; }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(side);
  }
};

}  // namespace

CEREAL_REGISTER_TYPE(square)
CEREAL_REGISTER_POLYMORPHIC_RELATION(shape, square)

namespace {

/// The same value comes back.
template <class T>
T there_and_back(T value) {
  return async(processes, [](T v) { return v; }, std::move(value)).get();
}
template <class T>
void expect_unchanged(T const& value) {
  EXPECT_EQ(there_and_back(value), value);
}

TEST(process_values, plain_ones_cross) {
  expect_unchanged(7);
  expect_unchanged(true);
  expect_unchanged(colour::green);
  expect_unchanged(point{1.5, 2.5});
  expect_unchanged(std::array<point, 2>{{{1, 2}, {3, 4}}});
  expect_unchanged(std::optional<int>{3});
  expect_unchanged(std::chrono::milliseconds{5});
  EXPECT_EQ(there_and_back(&point::y), &point::y);
}

TEST(process_values, strings_vectors_pairs_and_tuples_cross) {
  expect_unchanged(std::string{});
  expect_unchanged(std::string(100'000, 's'));
  expect_unchanged(std::vector<point>{{1, 2}, {3, 4}});
  expect_unchanged(std::vector<double>(100'000, 0.5));
  expect_unchanged(std::pair{"text"s, std::vector{1, 2}});
  expect_unchanged(std::tuple{1, "text"s, std::pair{2, "more"s}});
  expect_unchanged(std::tuple<>{});
  expect_unchanged(std::vector{"one"s, ""s, std::string(100'000, 's')});
  expect_unchanged(std::vector<std::vector<std::pair<std::string, double>>>{{{"a", 1}}, {}});
  expect_unchanged(std::vector<bool>{true, false, true});
  expect_unchanged(std::vector<std::filesystem::path>{"/tmp", "a file"});
  std::map<std::string, int> const ages{{"Ann", 30}, {"Bob", 31}};  // its elements have a key that is const
  EXPECT_EQ(map(processes, ages, [](auto const& entry) { return entry.first + std::to_string(entry.second); }),
            (std::vector{"Ann30"s, "Bob31"s}));
}

TEST(process_values, the_rest_of_the_standard_containers_cross) {
  expect_unchanged(std::map<std::string, std::vector<std::string>>{{"a", {"b", "c"}}, {"d", {}}});
  expect_unchanged(std::unordered_map<int, point>{{1, {2, 3}}, {4, {5, 6}}});
  expect_unchanged(std::set<std::string>{"x", "y"});
  expect_unchanged(std::list<std::optional<std::string>>{"x", std::nullopt});
  expect_unchanged(std::vector<bool>{true, false, true});
  expect_unchanged(std::array<std::string, 2>{"a", "b"});
  expect_unchanged(std::variant<std::monostate, int, std::string>{"text"});
  expect_unchanged(std::vector<std::vector<std::pair<int, std::string>>>{{{1, "a"}}, {}});
  expect_unchanged(std::complex<double>{1, 2});
  expect_unchanged(std::wstring{L"wide"});
}

TEST(process_values, types_of_ones_own_cross_by_any_of_cereals_functions) {
  expect_unchanged(account{"Ann", 3});
  expect_unchanged(std::map<int, account>{{1, {"Ann", 3}}, {2, {"Bob", 4}}});
  EXPECT_EQ(there_and_back(beside{"text"}).text, "text");
}

TEST(process_values, what_can_only_be_moved_crosses) {
  auto const number = async(processes, [] { return std::make_unique<int>(7); }).get();
  EXPECT_EQ(*number, 7);
  EXPECT_EQ(async(processes, [](std::unique_ptr<int> n) { return *n + 1; }, std::make_unique<int>(7)).get(), 8);
  EXPECT_EQ(async(processes, [] { return std::unique_ptr<int>{}; }).get(), nullptr);

  tree root{"root", {}, std::make_unique<point>(point{1, 2}), std::make_shared<account>("Ann", 3)};
  root.below.push_back({"leaf", {}, nullptr, root.owner});
  auto const back = there_and_back(std::move(root));
  EXPECT_EQ(back.name, "root");
  EXPECT_EQ(*back.place, (point{1, 2}));
  ASSERT_EQ(back.below.size(), 1U);
  EXPECT_EQ(back.below[0].name, "leaf");
  EXPECT_EQ(back.below[0].owner, back.owner) << "shared as it was";
}

TEST(process_values, a_pointer_to_a_base_brings_the_derived_object) {
  auto area = async(processes, [](std::unique_ptr<shape> s) { return s->area(); },
                    std::unique_ptr<shape>{std::make_unique<square>(3)});
  auto back = async(processes, []() -> std::unique_ptr<shape> { return std::make_unique<square>(4); }).get();
  EXPECT_EQ(area.get(), 9);
  EXPECT_EQ(back->area(), 16);
}

TEST(process_values, map_takes_and_gathers_any_of_them) {
  std::vector<account> accounts;
  for (int i = 0; i < 3000; ++i) accounts.emplace_back("owner " + std::to_string(i), i);
  auto const after = errand::map(processes, accounts, [](account const& a) { return a.deposited(5); });
  ASSERT_EQ(after.size(), accounts.size());
  for (std::size_t i = 0; i < after.size(); ++i) ASSERT_EQ(after[i], accounts[i].deposited(5)) << i;

  auto const owned = errand::map(processes, std::vector{1, 2, 3}, [](int n) { return std::make_unique<int>(n * n); });
  EXPECT_EQ(*owned[2], 9);
}

TEST(process_values, an_argument_is_the_tasks_own_copy) {
  std::string text(200'000, 'a');
  errand::shared_vector<int> numbers(200'000, 1);
  auto later = async(processes, [](std::string const& s, errand::shared_vector<int> const& v) { return s[9] + v[9]; }, text,
                     numbers);
  text[9] = 'z';
  numbers[9] = 5;
  EXPECT_EQ(later.get(), 'a' + 1);
  EXPECT_EQ(numbers.size(), 200'000U);

  auto moved = async(processes, [](errand::shared_vector<int> v) { return v[9]; }, std::move(numbers));
  EXPECT_TRUE(numbers.empty());  // NOLINT: moved from
  EXPECT_EQ(moved.get(), 5);
}

// ---- functions

struct counter {
  int from;
  int plus(int n) const noexcept { return from + n; }
  int times(int n) { return from *= n; }
};

TEST(process_functions, members_cross) {
  EXPECT_EQ(async(processes, &counter::plus, counter{3}, 4).get(), 7);
  EXPECT_EQ(async(processes, &counter::times, counter{3}, 4).get(), 12);
  EXPECT_EQ(async(processes, &counter::from, counter{3}).get(), 3);
  EXPECT_EQ(async(processes, &shape::area, std::unique_ptr<shape>{std::make_unique<square>(5)}).get(), 25);
  EXPECT_EQ(errand::map(processes, std::vector{counter{1}, counter{2}}, &counter::from), (std::vector{1, 2}));
}

TEST(process_functions, by_value_takes_captures_along) {
  auto const n = static_cast<int>(std::string{"abc"}.size());  // no constant, so that it has to be captured
  point const p{1, 2};
  EXPECT_EQ(async(processes, by_value([n, p](int m) { return n * m + static_cast<int>(p.y); }), 5).get(), 17);
  EXPECT_EQ(async(processes, by_value([m = n]() mutable { return ++m; })).get(), 4);
  EXPECT_EQ(errand::map(processes, std::vector{1, 2, 3}, by_value([n](int m) { return n * m; })), (std::vector{3, 6, 9}));
}

TEST(process_functions, by_value_settles_parameters_of_any_kind) {
  std::map<std::string, int> const prices{{"tea", 3}, {"cake", 5}};
  auto const price = [](std::map<std::string, int> const& all, std::string const& what) { return all.at(what); };
  EXPECT_EQ(async(processes, by_value(price, prices), "cake"s).get(), 5);
  EXPECT_EQ(errand::map(processes, std::vector{"tea"s, "cake"s, "tea"s}, by_value(price, prices)), (std::vector{3, 5, 3}));
  EXPECT_EQ(async(processes, by_value(&counter::plus, counter{10}), 4).get(), 14);
}

// ---- values that fail

struct fragile {
  std::string text;
  bool breaks_when_read_here = false;
  bool breaks_when_written = false;
  template <class Archive>
  void save(Archive& archive) const {
    if (breaks_when_written) throw std::domain_error{"cannot be written"};
    archive(text, breaks_when_read_here, breaks_when_written, ::getpid());
  }
  template <class Archive>
  void load(Archive& archive) {
    pid_t writer = 0;
    archive(text, breaks_when_read_here, breaks_when_written, writer);
    if (breaks_when_read_here) throw std::range_error{"cannot be read"};
  }
};

TEST(process_failures, of_an_argument_being_written_are_thrown_at_the_caller_and_nothing_is_lost) {
  auto before = async(processes, [](int n) { return n; }, 1);
  for (auto const size : {1U, 100'000U}) {
    EXPECT_THROW((void)async(processes, [](fragile const&) {}, fragile{std::string(size, 'x'), false, true}),
                 std::domain_error);
    EXPECT_THROW((void)errand::map(processes, std::vector<fragile>{{}, {std::string(size, 'x'), false, true}},
                                   [](fragile const&) { return 1; }),
                 std::domain_error);
  }
  EXPECT_EQ(before.get(), 1);
  EXPECT_EQ(async(processes, [](int n) { return n; }, 2).get(), 2);
}

TEST(process_failures, of_an_argument_being_read_are_the_tasks) {
  auto reading = async(processes, [](fragile const&) { return 1; }, fragile{"x", true, false});
  EXPECT_THROW(reading.get(), std::range_error);
}

TEST(process_failures, of_a_result_being_written_or_read_are_the_tasks) {
  for (auto const size : {1U, 100'000U}) {
    auto writing = async(processes, [](std::size_t n) { return fragile{std::string(n, 'x'), false, true}; }, std::size_t{size});
    EXPECT_THROW(writing.get(), std::domain_error);
    auto reading = async(processes, [](std::size_t n) { return fragile{std::string(n, 'x'), true, false}; }, std::size_t{size});
    EXPECT_THROW(reading.get(), std::range_error);
  }
  EXPECT_EQ(async(processes, [](int n) { return n; }, 2).get(), 2);
}

struct starts_another {  // its reading starts a task in a process
  std::string text;
  template <class Archive>
  void save(Archive& archive) const {
    archive(text, 1);
  }
  template <class Archive>
  void load(Archive& archive) {
    int one = 0;
    archive(text, one);
    if (::getpid() == program) started = async(processes, [](int n) { return n + 1; }, one);
  }
  static inline errand::future<int> started;
};

TEST(process_failures, do_not_come_of_a_value_that_starts_a_task_while_it_is_read) {
  (void)async(processes, [] { return starts_another{}; }).get();
  EXPECT_EQ(starts_another::started.get(), 2);
}

TEST(process_failures, of_one_large_result_cost_no_other_task) {
  std::vector<errand::future<errand::shared_vector<int>>> all;
  for (int i = 0; i < 30; ++i)
    all.push_back(async(
        processes,
        [](int n) {
          errand::shared_vector<int> made(100'000, n);
          if (n == 11) std::_Exit(3);
          return made;
        },
        i));
  for (int i = 0; i < 30; ++i) {
    auto& each = all[static_cast<std::size_t>(i)];
    if (i == 11)
      EXPECT_THROW((void)each.get(), errand::process_died);
    else
      EXPECT_EQ(each.get()[99'999], i);
  }
}

}  // namespace
