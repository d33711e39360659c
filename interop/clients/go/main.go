// go-zookeeper/zk against a server: CONNECT PROXY CONTROL ALL. Prints one line per case, then the counts.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

// Machines that run this may be busy with something else.
const patience = 60 * time.Second

var passed, failed int

func check(name string, holds bool, why ...any) {
	if holds {
		passed++
		fmt.Println("ok", name)
	} else {
		failed++
		fmt.Println("FAIL", name+":", fmt.Sprint(why...))
	}
}

type silent struct{}

func (silent) Printf(string, ...interface{}) {}

func open(hosts ...string) (*zk.Conn, <-chan zk.Event) {
	conn, events, err := zk.Connect(hosts, 10*time.Second, zk.WithLogger(silent{}))
	if err != nil {
		panic(err)
	}
	await(events, zk.StateHasSession)
	return conn, events
}

func await(events <-chan zk.Event, state zk.State) bool {
	end := time.After(patience)
	for {
		select {
		case event := <-events:
			if event.State == state {
				return true
			}
		case <-end:
			return false
		}
	}
}

func order(control, letter string) {
	conn, err := net.Dial("tcp", control)
	if err != nil {
		panic(err)
	}
	conn.Write([]byte(letter))
	io.ReadAll(conn)
	conn.Close()
}

func fired(events <-chan zk.Event, kind zk.EventType, path string) bool {
	select {
	case event := <-events:
		return event.Type == kind && event.Path == path
	case <-time.After(patience):
		return false
	}
}

// What is written at one server is read at each, behind a sync.
func several(hosts []string) {
	anywhere, _ := open(hosts...)
	_, err := anywhere.Create("/several", nil, 0, zk.WorldACL(zk.PermAll))
	check("create anywhere", err == nil, err)
	each := make([]*zk.Conn, len(hosts))
	for i, host := range hosts {
		each[i], _ = open(host)
	}
	for i, writer := range each {
		value := fmt.Sprint("by ", i)
		_, err := writer.Set("/several", []byte(value), -1)
		seen := err == nil
		for _, reader := range each {
			_, err := reader.Sync("/several")
			seen = seen && err == nil
			data, _, err := reader.Get("/several")
			seen = seen && err == nil && string(data) == value
		}
		check("written at one server, read at each", seen)
	}
	for _, conn := range append(each, anywhere) {
		conn.Close()
	}
}

func main() {
	connect, proxy, control := os.Args[1], os.Args[2], os.Args[3]
	everybody := zk.WorldACL(zk.PermAll)
	conn, _ := open(connect)
	path, err := conn.Create("/g", []byte("one"), 0, everybody)
	check("create", err == nil && path == "/g", err)
	_, err = conn.Create("/g", nil, 0, everybody)
	check("create again", err == zk.ErrNodeExists, err)
	data, stat, err := conn.Get("/g")
	check("get", err == nil && string(data) == "one" && stat.Version == 0, err)
	stat, err = conn.Set("/g", []byte("two"), 0)
	check("set", err == nil && stat.Version == 1, err)
	_, err = conn.Set("/g", nil, 7)
	check("set of another version", err == zk.ErrBadVersion, err)
	path, err = conn.Create("/g/s-", nil, zk.FlagSequence, everybody)
	check("sequential", err == nil && path == "/g/s-0000000000", path, err)
	path, err = conn.CreateProtectedEphemeralSequential("/g/p-", nil, everybody)
	check("protected", err == nil && strings.HasPrefix(path, "/g/_c_"), path, err)
	_, err = conn.Create("/g/e", nil, zk.FlagEphemeral, everybody)
	check("ephemeral", err == nil, err)
	_, err = conn.Create("/g/e/x", nil, 0, everybody)
	check("child of an ephemeral", err == zk.ErrNoChildrenForEphemerals, err)
	_, err = conn.CreateContainer("/g/k", nil, 4, everybody)
	check("container", err == nil, err)
	_, err = conn.CreateTTL("/g/t", nil, zk.FlagTTL|zk.FlagEphemeral, everybody, time.Hour)
	check("ttl", err == nil, err)
	children, stat, err := conn.Children("/g")
	sort.Strings(children)
	check("children", err == nil && len(children) == 5 && stat.NumChildren == 5, children, err)

	_, _, data1, _ := conn.GetW("/g")
	_, _, born, _ := conn.ExistsW("/w")
	_, _, child, _ := conn.ChildrenW("/g")
	conn.Set("/g", nil, -1)
	check("data event", fired(data1, zk.EventNodeDataChanged, "/g"))
	conn.Create("/w", nil, 0, everybody)
	check("created event", fired(born, zk.EventNodeCreated, "/w"))
	conn.Delete("/g/e", -1)
	check("child event", fired(child, zk.EventNodeChildrenChanged, "/g"))

	results, err := conn.Multi(
		&zk.CreateRequest{Path: "/m", Data: []byte("1"), Acl: everybody},
		&zk.SetDataRequest{Path: "/m", Data: []byte("2"), Version: 0},
		&zk.CheckVersionRequest{Path: "/m", Version: 1},
		&zk.DeleteRequest{Path: "/m", Version: 1},
	)
	check("multi", err == nil && len(results) == 4 && results[0].String == "/m", results, err)
	results, err = conn.Multi(
		&zk.CreateRequest{Path: "/m", Acl: everybody},
		&zk.DeleteRequest{Path: "/absent", Version: -1},
	)
	check("multi that fails", err == zk.ErrNoNode && len(results) == 2, results, err)
	there, _, err := conn.Exists("/m")
	check("nothing of it", err == nil && !there, err)

	check("auth", conn.AddAuth("digest", []byte("user:secret")) == nil)
	_, err = conn.Create("/acl", nil, 0, zk.AuthACL(zk.PermAll))
	check("create with own list", err == nil, err)
	acl, _, err := conn.GetACL("/acl")
	check("read list", err == nil && len(acl) == 1 && acl[0].Scheme == "digest", acl, err)
	other, _ := open(connect)
	_, _, err = other.Get("/acl")
	check("who may not read", err == zk.ErrNoAuth, err)

	lock := zk.NewLock(conn, "/lock", everybody)
	check("lock", lock.Lock() == nil)
	second := zk.NewLock(other, "/lock", everybody)
	got := make(chan error, 1)
	go func() { got <- second.Lock() }()
	select {
	case <-got:
		check("the lock excludes", false)
	case <-time.After(200 * time.Millisecond):
		check("the lock excludes", true)
	}
	check("unlock", lock.Unlock() == nil)
	check("the next one has it", <-got == nil)
	second.Unlock()
	other.Close()

	relayed, events := open(proxy)
	_, err = relayed.Create("/live", nil, zk.FlagEphemeral, everybody)
	check("ephemeral through the relay", err == nil, err)
	session := relayed.SessionID()
	order(control, "c")
	check("connected again", await(events, zk.StateHasSession))
	check("the same session", relayed.SessionID() == session)
	there, _, err = conn.Exists("/live")
	check("ephemeral still there", err == nil && there, err)
	relayed.Close()
	conn.Close()
	several(strings.Split(os.Args[4], ","))
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}
