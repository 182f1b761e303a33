// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A fault of a compiler that users of coroutines must know, shown without errand. When the compiler that builds this is mended,
// the test fails and says which pages may forget it.
#include <gtest/gtest.h>

#include <coroutine>
#include <exception>
#include <utility>

namespace {

int born = 0;
int gone = 0;
struct tally {
  tally() { ++born; }
  tally(tally const&) { ++born; }
  tally(tally&&) noexcept { ++born; }
  ~tally() { ++gone; }
};

// The smallest coroutine; it runs at once.
struct eager {
  struct promise_type {
    eager get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

template <class F>
std::suspend_never call(F f) {
  f();
  return {};
}

eager awaits_in_one_expression() { co_await call([t = tally{}] { static_cast<void>(t); }); }
eager awaits_in_two_statements() {
  auto called = call([t = tally{}] { static_cast<void>(t); });
  co_await called;
}

TEST(compiler, destroys_the_captures_of_a_lambda_in_an_await_expression_twice_or_is_mended) {
  born = gone = 0;
  awaits_in_one_expression();
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ <= 12
  EXPECT_EQ(gone, born + 1) << "this g++ no longer destroys the captures of co_await f([captures]{...}) twice: the advice in "
                               "docs/guide/coroutines.md may name it as mended";
#else
  EXPECT_EQ(gone, born) << "this compiler destroys the captures of co_await f([captures]{...}) twice: name it in "
                           "docs/guide/coroutines.md";
#endif
}

TEST(compiler, destroys_them_once_if_the_future_has_a_name) {
  born = gone = 0;
  awaits_in_two_statements();
  EXPECT_EQ(gone, born);
}

}  // namespace
