/* SPDX-License-Identifier: Apache-2.0 */
/* What the oracle steps through in C++: exceptions through many frames, and the library's own machinery. */
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static volatile int sink;
static int seed;

struct guard {
	int n;
	explicit guard(int n_) : n(n_) {}
	~guard() { sink = sink + n; }
};

__attribute__((noinline)) static int thrower(int n)
{
	guard g(n);

	if (n == 0)
		throw std::runtime_error("thrown " + std::to_string(seed));
	return thrower(n - 1) + 1;
}

__attribute__((noinline)) static int rethrows(int n)
{
	try {
		return thrower(n);
	} catch (const std::logic_error &) {
		return 1;
	} catch (const std::exception &e) {
		guard g(3);

		sink = sink + static_cast<int>(std::string(e.what()).size());
		throw;
	}
}

struct base {
	virtual ~base() {}
	virtual int run(int n) = 0;
};
struct first : base {
	int run(int n) override { return rethrows(n); }
};
struct second : base {
	first inner;
	int run(int n) override
	{
		try {
			return inner.run(n);
		} catch (...) {
			return n;
		}
	}
};

static void work(int n)
{
	std::vector<std::unique_ptr<base>> v;
	std::map<std::string, int> m;
	std::function<int(int)> f = [n](int k) { return k * n; };

	v.push_back(std::make_unique<second>());
	v.push_back(std::make_unique<first>());
	for (int i = 0; i < 3; i++)
		try {
			sink = sink + v[static_cast<size_t>(i) % 2]->run(i + n % 3) + f(i);
		} catch (const std::runtime_error &e) {
			m[e.what()]++;
		}
	std::vector<int> numbers(20);
	for (size_t i = 0; i < numbers.size(); i++)
		numbers[i] = static_cast<int>(i * 7 + static_cast<size_t>(seed)) % 20;
	std::sort(numbers.begin(), numbers.end(), [](int a, int b) { return a < b; });
	try {
		sink = sink + numbers.at(50);
	} catch (const std::out_of_range &) {
		sink = sink + 1;
	}
}

/* A destructor that throws and catches while another exception is on its way. */
struct nested {
	~nested() { work(1); }
};

int main()
{
	const char *round = std::getenv("ORACLE_ROUND");

	seed = round ? std::atoi(round) : 0;
	work(2);
	try {
		nested n;
		thrower(2);
	} catch (...) {
		sink = sink + 1;
	}
	std::thread a(work, 1), b(work, 2);
	a.join();
	b.join();
	return sink == -1;
}
