// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a fragment in README.md and docs/ may take for granted: the usual includes and a small cast of names, so that
// a snippet shows errand and not its props. Each does some real, quick work. A fragment may declare its own; they win.
#pragma once

#include <errand/errand.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iostream>
#include <map>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

using Path = std::string;

// Documents: parsed in the background, shown, summed up.
struct Doc {
  std::string text;
  std::size_t words = 0;
};
inline Path const path = "report.txt";
inline Doc parse(Path const& from) { return {"text of " + from, 3}; }
inline Doc load() { return parse(path); }
inline void show(Doc const&) {}

struct Report {
  std::size_t words = 0;
};
inline Report summary(Doc const& doc) { return {doc.words}; }

// Pages: fetched, many at once or from several mirrors. A mirror looks at its token, as anything long should.
struct Page {
  std::string body;
};
inline std::vector<std::string> const urls = {"one", "two", "three"};
inline Page fetch(std::string const& url) { return {"page " + url}; }
inline Page mirror(std::stop_token stop, std::string const& region) {
  return {stop.stop_requested() ? "" : "from " + region};
}

// A cart that has to be guarded.
struct Item {
  int price = 1;
};
class Cart {
 public:
  void add(Item item) { items_.push_back(item); }
  [[nodiscard]] int size() const { return static_cast<int>(items_.size()); }

 private:
  std::vector<Item> items_;
};
inline Cart cart;
inline Item const item;

// Things to compute.
inline std::vector<int> const xs = {1, 2, 3, 4, 5};
inline int f() { return 6; }
inline int g() { return 7; }
inline int square(int x) { return x * x; }
inline void crunch() {}
inline std::string bytes = "a,b\n1,2\n";

// A function that may crash or never return, and what it is given.
inline std::string const blob = "untrusted";
inline int risky(std::string const& input) { return static_cast<int>(input.size()); }
