// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A window that lives on while its program computes. The Mandelbrot set is drawn in the background and shown band by band; it can
// be cancelled, and the clock ticks meanwhile. The toolkit (FLTK) has a loop of its own, which serves main_queue(), too: see main().
// All that touches the window runs there: see draw_all(), which reads as if it simply waited.
#include <errand/queue.hpp>

#include <FL/Fl.H>
#include <FL/Fl_Box.H>
#include <FL/Fl_Button.H>
#include <FL/Fl_Double_Window.H>
#include <FL/Fl_Int_Input.H>
#include <FL/Fl_Progress.H>
#include <FL/fl_draw.H>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

// ---- the computation, which knows of no window

constexpr int width = 640, height = 480, band_height = 8, bands = height / band_height;

struct colour {
  unsigned char red, green, blue;
};

// For points that escape after so many steps.
std::vector<colour> palette(int depth) {
  if (depth < 1) throw std::invalid_argument{"a depth of " + std::to_string(depth) + " is too small"};
  auto const wave = [](double at) { return static_cast<unsigned char>(127.5 - 127.5 * std::cos(at)); };
  std::vector<colour> colours;
  for (int steps = 0; steps < std::min(depth, 4096); ++steps) {
    double const at = 0.55 * std::sqrt(steps);
    colours.push_back({wave(at), wave(at + 0.4), wave(at + 0.9)});
  }
  return colours;
}

std::vector<colour> draw_band(std::stop_token stop, int band, int depth, std::vector<colour> const& colours) {
  std::vector<colour> pixels;
  for (int i = band * band_height * width; i < (band + 1) * band_height * width; ++i) {
    if (stop.stop_requested()) throw errand::operation_cancelled{};
    double const re = 0.005 * (i % width) - 2.2, im = 0.005 * (i / width) - 1.2;
    double x = 0, y = 0;
    int steps = 0;
    for (; steps < depth && x * x + y * y < 4; ++steps) {
      double const next = x * x - y * y + re;
      y = 2 * x * y + im;
      x = next;
    }
    pixels.push_back(steps < depth ? colours[static_cast<std::size_t>(steps) % colours.size()] : colour{0, 0, 0});
  }
  return pixels;
}

// ---- the window

struct canvas : Fl_Box {
  using Fl_Box::Fl_Box;
  void draw() override { fl_draw_image(&pixels[0].red, x(), y(), width, height, sizeof(colour)); }
  void clear() { pixels.assign(width * height, {36, 36, 44}); }
  std::vector<colour> pixels;
};

class window : public Fl_Double_Window {
 public:
  window() : Fl_Double_Window{width + 20, height + 84, "Mandelbrot"} {
    end();
    canvas_.clear();
    start_.callback([](Fl_Widget*, void* w) { static_cast<window*>(w)->start(); }, this);
    cancel_.callback([](Fl_Widget*, void* w) { static_cast<window*>(w)->stop_.request_stop(); }, this);
    cancel_.deactivate();
    depth_.value("2000");
    depth_.maximum_size(7);
    progress_.maximum(bands);
    progress_.selection_color(fl_rgb_color(90, 150, 215));
    status_.align(FL_ALIGN_LEFT | FL_ALIGN_INSIDE);
    Fl::add_timeout(0.02, tick, this);
  }
  ~window() override { Fl::remove_timeout(tick, this); }

 private:
  void start() {
    start_.deactivate();
    cancel_.activate();
    canvas_.clear();
    shown_ = 0;
    stop_ = {};
    begun_ = std::chrono::steady_clock::now();
    drawing_ = errand::async(errand::main_queue(), draw_all(std::atoi(depth_.value()))).share();
  }

  // An item of the main queue. While it waits the window lives on; results, errors and a stop arrive here.
  errand::task<void> draw_all(int depth) {
    ticked_ = 0;
    std::string outcome = "done";
    try {
      errand::how const stoppable{.stop = stop_.get_token()};
      auto mixed = errand::async(stoppable, palette, depth);
      auto const colours = co_await mixed;
      std::vector<errand::future<std::vector<colour>>> drawn;  // goes before the colours: is stopped, and waited for
      for (int band = 0; band < bands; ++band)
        drawn.push_back(errand::async(stoppable, draw_band, band, depth, std::cref(colours)));
      for (auto& band : drawn) show_band(co_await band);
    } catch (errand::operation_cancelled const&) {
      outcome = "cancelled";
    } catch (std::exception const& e) {
      outcome = std::string{"failed: "} + e.what();
    }
    tell(outcome);
    cancel_.deactivate();
    start_.activate();
  }

  void show_band(std::vector<colour> const& band) {
    std::ranges::copy(band, canvas_.pixels.begin() + shown_++ * band_height * width);
    canvas_.redraw();
  }

  void tell(std::string const& what) {
    std::chrono::duration<double> const took = std::chrono::steady_clock::now() - begun_;
    char numbers[80];
    std::snprintf(numbers, sizeof numbers, " (%d of %d bands, %.2f s, %d ticks)", shown_, bands, took.count(), ticked_);
    status_.copy_label((what + numbers).c_str());
    progress_.value(static_cast<float>(shown_));
  }

  static void tick(void* self) {  // by the toolkit's own clock
    auto& w = *static_cast<window*>(self);
    if (w.cancel_.active()) {
      ++w.ticked_;
      w.tell("drawing");
      w.ticks_.add(1);
    }
    Fl::repeat_timeout(0.02, tick, self);
  }

 public:
  // In the place of a user, for the tests: each word is something that one does, or waits for.
  errand::task<void> play(std::span<char* const> words) {
    auto const close = [](window* w) { w->hide(); };
    std::unique_ptr<window, decltype(close)> const at_end{words.empty() ? nullptr : this, close};
    for (std::string const word : words) {
      if (word == "start")
        start_.do_callback();
      else if (word == "cancel")
        cancel_.do_callback();
      else if (word == "tick")
        co_await ticks_;
      else if (word == "end")
        co_await drawing_;
      else if (word.ends_with(".ppm"))
        save(word);
      else if (word.find_first_not_of("-0123456789") == std::string::npos)
        depth_.value(word.c_str());
      else
        throw std::invalid_argument{"what is \"" + word + "\"?"};
    }
    if (!words.empty()) std::puts(status_.label());
  }

 private:
  void save(std::string const& file) {
    wait_for_expose();
    Fl::flush();
    make_current();
    std::unique_ptr<unsigned char[]> const shot{fl_read_image(nullptr, 0, 0, w(), h())};
    std::ofstream out{file, std::ios::binary};
    out << "P6 " << w() << ' ' << h() << " 255\n";
    out.write(reinterpret_cast<char const*>(shot.get()), w() * h() * 3);
    if (!out.flush()) throw std::runtime_error{"cannot write " + file};
  }

  canvas canvas_{10, 10, width, height};
  Fl_Button start_{10, height + 20, 80, 28, "Start"}, cancel_{100, height + 20, 80, 28, "Cancel"};
  Fl_Int_Input depth_{240, height + 20, 80, 28, "Depth"};
  Fl_Progress progress_{330, height + 20, 320, 28};
  Fl_Box status_{10, height + 54, width, 24, "Press Start."};
  std::chrono::steady_clock::time_point begun_;
  int shown_ = 0, ticked_ = 0;
  std::stop_source stop_;
  errand::data_source<errand::merge::add> ticks_;
  errand::shared_future<void> drawing_;  // goes first: a window that is closed stops its drawing, and waits for it
};

int main(int argc, char** argv) {
  Fl::scheme("gtk+");
  window w;
  // A toolkit that looks at no descriptors takes main_queue().on_wake(hook) instead.
  Fl::add_fd(errand::main_queue().descriptor(), [](int, void*) { errand::main_queue().poll(); });
  w.show();
  auto played = errand::async(errand::main_queue(), w.play({argv + 1, argv + argc}));
  Fl::run();
  played.get();
}
