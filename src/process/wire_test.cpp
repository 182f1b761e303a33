// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Values to bytes and back, in one process: every kind; and bytes that are not what was written.
#include <gtest/gtest.h>
#include <errand/detail/process_function.hpp>
#include <errand/serialize.hpp>

#include <array>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace errand::detail {
namespace {

struct message {
  std::vector<std::byte> bytes;
  piece_list pieces;
};

template <class T>
message written(T const& value) {
  message m;
  lay_out(
      m.pieces, [](arena_piece const&) { return false; },
      [&](std::size_t size) {
        m.bytes.resize(size);
        return m.bytes.data();
      },
      [&](byte_writer& to) { to.put(value); });
  return m;
}

template <class T>
T read(std::vector<std::byte> const& bytes) {
  return read_reply<T>({bytes.data(), bytes.size(), nullptr, 0});
}

struct point {
  double x;
  int y;
  bool operator==(point const&) const = default;
};

struct person {
  std::string name;
  std::optional<int> age;
  std::vector<point> path;
  std::map<std::string, std::variant<int, std::string>> more;
  bool operator==(person const&) const = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(name, age, path, more);
  }
};

struct minimal {  // plain bytes, but for cereal, where it is a member
  int number = 0;
  bool operator==(minimal const&) const = default;
  template <class Archive>
  int save_minimal(Archive const&) const {
    return number;
  }
  template <class Archive>
  void load_minimal(Archive const&, int const& value) {
    number = value;
  }
};
person somebody() { return {"Ann", 30, {{1, 2}, {3, 4}}, {{"a", 1}, {"b", "two"}}}; }

// Cut off anywhere, or with a byte too many, it is refused; changed, it is refused or read as something else.
template <class T>
void expect_guarded(std::mt19937& random, T const& value) {
  auto const whole = written(value).bytes;
  EXPECT_EQ(read<T>(whole), value);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    // A copy of its own, so that AddressSanitizer sees a byte read beyond.
    std::vector<std::byte> const cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_THROW(read<T>(cut), std::runtime_error) << size << " of " << whole.size();
  }
  auto longer = whole;
  longer.push_back(std::byte{0});
  EXPECT_THROW(read<T>(longer), std::runtime_error);

  for (int round = 0; round < 2000; ++round) {
    auto wild = whole;
    for (auto changes = random() % 4 + 1; changes != 0 && !wild.empty(); --changes)
      wild[random() % wild.size()] = static_cast<std::byte>(random());
    try {
      (void)read<T>(wild);
    } catch (std::exception const&) {
    }
  }
}

TEST(wire, plain_values_strings_and_vectors_come_back_and_damage_is_noticed) {
  std::mt19937 random{16};  // the same changes each time
  expect_guarded(random, 7);
  expect_guarded(random, point{1.5, 2});
  expect_guarded(random, std::array<short, 3>{1, 2, 3});
  expect_guarded(random, std::optional<int>{});
  expect_guarded(random, std::string{});
  expect_guarded(random, std::string{"some text"});
  expect_guarded(random, std::vector<point>{{1, 2}, {3, 4}});
  expect_guarded(random, std::vector<char>(3000, 'c'));
  expect_guarded(random, std::pair{std::string{"a"}, std::vector{1, 2}});
  expect_guarded(random, std::tuple{1, std::string{"b"}, std::pair{2.5, std::string{}}});
  expect_guarded(random, shared_vector<int>{1, 2, 3});
  expect_guarded(random, std::vector<std::string>{"a", "", std::string(3000, 'b')});
  expect_guarded(random, std::vector<std::vector<std::pair<std::string, int>>>{{{"a", 1}}, {}, {{"b", 2}, {"c", 3}}});
  expect_guarded(random, std::vector<bool>{true, false, true});
  expect_guarded(random, std::vector<shared_vector<int>>{{1, 2}, {}});
  expect_guarded(random, std::pair<std::string const, int>{"key", 1});
  expect_guarded(random, std::filesystem::path{"/usr/../tmp/a file"});
}

// Large blocks are read in another way.
TEST(wire, blocks_of_all_sizes_come_back) {
  for (std::size_t const size : {large_block - 1, large_block, large_block + 1, 3 * large_block}) {
    std::string text(size, 'a');
    text.back() = 'z';
    EXPECT_TRUE(read<std::string>(written(text).bytes) == text) << size;
    std::vector<std::uint32_t> numbers(size / sizeof(std::uint32_t));
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<std::uint32_t>(i);
    EXPECT_TRUE(read<std::vector<std::uint32_t>>(written(numbers).bytes) == numbers) << size;
    auto cut = written(text).bytes;
    cut.pop_back();
    EXPECT_THROW(read<std::string>(cut), std::runtime_error) << size;
  }
}

TEST(wire, what_cereal_knows_comes_back_and_damage_is_noticed) {
  std::mt19937 random{16};  // the same changes each time
  expect_guarded(random, somebody());
  expect_guarded(random, std::vector<person>{somebody(), {}, somebody()});
  expect_guarded(random, std::map<int, std::string>{{1, "one"}, {2, "two"}});
  expect_guarded(random, std::variant<std::monostate, int, std::string>{"text"});
  expect_guarded(random, std::set<std::string>{"a", std::string(3000, 'b')});
  expect_guarded(random, std::map<std::string, minimal>{{"a", {1}}, {"b", {2}}});
  expect_guarded(random, std::map<std::string, std::filesystem::path>{{"a", "/tmp/a"}, {"b", ""}});
  expect_guarded(random, std::optional<std::vector<point>>{{{5, 6}}});
}

TEST(wire, elements_of_a_block_lie_where_their_type_wants_them) {
  struct alignas(32) wide {
    double of[4];
    bool operator==(wide const& other) const { return of[0] == other.of[0]; }
  };
  auto const all = std::tuple{'c', std::vector<wide>(3, wide{{7, 0, 0, 0}}), 'd', std::vector<long double>{1.5L}};
  using type = std::remove_cv_t<decltype(all)>;
  EXPECT_EQ(read<type>(written(all).bytes), all);
}

TEST(wire, a_value_is_asked_once_if_it_is_small_and_twice_if_it_is_large) {
  static int asked = 0;
  struct counting {
    std::string text;
    void save(process_output& archive) const {
      ++asked;
      archive(text);
    }
    void load(process_input& archive) { archive(text); }
  };
  EXPECT_EQ(read<counting>(written(counting{"short"}).bytes).text, "short");
  EXPECT_EQ(asked, 1);
  std::string const longer(10'000, 'x');
  EXPECT_EQ(read<counting>(written(counting{longer}).bytes).text, longer);
  EXPECT_EQ(asked, 3);
}

struct moody {
  mutable std::size_t size = 5000;
  void save(process_output& archive) const { archive(std::string(size++, 'm')); }
  void load(process_input&) {}
  moody() = default;
  moody(moody const& other) : size{other.size} {}
};

TEST(wire, a_value_that_gives_other_bytes_the_second_time_is_refused) {
  EXPECT_THROW(written(moody{}), std::logic_error);
}

TEST(wire, a_container_that_claims_more_than_there_is_asks_for_no_memory) {
  std::vector<std::byte> bytes(16);
  std::uint64_t const size = std::uint64_t{1} << 40;
  std::memcpy(bytes.data(), &size, sizeof size);
  EXPECT_THROW((read<std::vector<std::string>>(bytes)), std::runtime_error);
  EXPECT_THROW((read<std::vector<double>>(bytes)), std::runtime_error);
  EXPECT_THROW((read<std::string>(bytes)), std::runtime_error);
  EXPECT_THROW((read<shared_vector<int>>(bytes)), std::runtime_error);
}

TEST(wire, what_points_elsewhere_does_not_cross_however_it_is_wrapped) {
  auto const captures = [p = 1] { return p; };
  static_assert(!sendable<int*> && !sendable<char const*> && !sendable<int&> && !sendable<std::nullptr_t>);
  static_assert(!sendable<std::string_view> && !sendable<std::reference_wrapper<int>>);
  static_assert(!sendable<std::vector<int>::iterator> && !sendable<std::optional<int*>> && !sendable<std::array<int*, 2>>);
  static_assert(!sendable<std::vector<int*>> && !sendable<std::pair<int, char const*>> && !sendable<std::map<int, int*>>);
  static_assert(!sendable<std::remove_const_t<decltype(captures)>>);
  static_assert(sendable<int> && sendable<point> && sendable<int point::*>);
  EXPECT_EQ(captures(), 1);
}

}  // namespace
}  // namespace errand::detail
