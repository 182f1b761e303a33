// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Boost.Asio's coroutines. Its headers want <utility> and <coroutine> included before them.
#include "system_state.hpp"
#include "who_ran.hpp"

#include <coroutine>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

namespace microbench {

#if defined(BOOST_ASIO_HAS_CO_AWAIT)  // not with every compiler

namespace {

namespace asio = boost::asio;

[[gnu::noinline]] asio::awaitable<std::size_t> successor(std::size_t n) { co_return n + 1; }

asio::awaitable<void> call_children(std::size_t count, sample& result) {
  std::size_t n = 0;
  auto const begin = now_ns();
  for (std::size_t i = 0; i < count; ++i) n = co_await successor(n);
  auto const end = now_ns();
  require(n == count, "a child coroutine did not run");
  result.cost = ns_each(begin, end, count);
}

add const child{"co-await-child", role::rival, "Asio awaitable", [](settings const& s) -> repetition {
                  return [n = s.times(500'000)] {
                    asio::io_context io;
                    sample result;
                    asio::co_spawn(io, call_children(n, result), asio::detached);
                    io.run();
                    require(result.cost > 0, "the coroutine did not end");
                    return result;
                  };
                }};

}  // namespace

#endif

}  // namespace microbench
