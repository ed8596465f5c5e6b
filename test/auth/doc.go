// Package auth has the tests of authentication and authorization against the
// real server: with issuers, webhooks and proxies that are small servers of
// the test, at both front doors.
package auth
