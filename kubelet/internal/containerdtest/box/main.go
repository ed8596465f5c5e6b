// Command box is what the containers of tests run.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"pause"}
	}
	number := func(i int) int {
		if len(args) <= i {
			return 0
		}
		n, err := strconv.Atoi(args[i])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		return n
	}
	switch args[0] {
	case "pause":
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		<-stop
	case "cat":
		_, _ = io.Copy(os.Stdout, os.Stdin) // until one side ends
	case "echo":
		fmt.Println(strings.Join(args[1:], " "))
	case "both":
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
	case "exit":
		os.Exit(number(1))
	case "bytes":
		block := strings.Repeat("x", 1023) + "\n"
		for range number(1) / len(block) {
			fmt.Print(block)
		}
	case "say": // N lines, a pause between
		for i := range number(1) {
			fmt.Println("line", i)
			time.Sleep(time.Duration(number(2)) * time.Millisecond)
		}
	case "size":
		size()
	case "serve":
		serve(args[1])
	case "env":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	default:
		fmt.Fprintf(os.Stderr, "box: no command %q\n", args[0])
		os.Exit(2)
	}
}

// size waits until the terminal is 42 columns wide.
func size() {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ws, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil && ws.Col == 42 {
			fmt.Println("rows", ws.Row)
			return
		}
	}
	os.Exit(1)
}

// serve echoes what connections say.
func serve(address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c) // until the other side ends
		}()
	}
}
