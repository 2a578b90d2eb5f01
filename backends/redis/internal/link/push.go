package link

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9/push"
)

// pushes reads push messages in the client's place. The client's own processor drops one whose name
// it does not know or cannot read, and nobody hears that something was lost.
type pushes[R frames] struct {
	push.NotificationProcessor // for what is never called here: handlers
	take                       func(frame any, err error)
}

// frames is what is used of the client's reader, whose type cannot be named here.
type frames interface {
	PeekReplyType() (byte, error)
	PeekPushNotificationName() (string, error)
	ReadReply() (any, error)
}

// takePushes returns a processor that gives take every push message that is not one of pub/sub, or
// the error that ended the reading of one.
func takePushes(take func(frame any, err error)) push.NotificationProcessor {
	own := push.NewProcessor()
	return processorLike(own.ProcessPendingNotifications, own, take)
}

// processorLike has the first argument for its type only.
func processorLike[R frames](_ func(context.Context, push.NotificationHandlerContext, R) error, own push.NotificationProcessor, take func(any, error)) pushes[R] {
	return pushes[R]{own, take}
}

// ProcessPendingNotifications implements the client's interface. It returns before a reply that is no
// push, or is one of pub/sub, which the client reads by itself. It never fails: the client would only
// log that.
func (p pushes[R]) ProcessPendingNotifications(_ context.Context, _ push.NotificationHandlerContext, rd R) error {
	for {
		kind, err := rd.PeekReplyType()
		if err != nil || kind != '>' {
			return nil
		}
		if name, err := rd.PeekPushNotificationName(); err == nil && ofPubSub(name) {
			return nil
		}
		frame, err := rd.ReadReply()
		p.take(frame, err)
		if err != nil {
			return nil
		}
	}
}

func ofPubSub(name string) bool {
	switch name {
	case "message", "subscribe", "unsubscribe", "smessage", "ssubscribe", "sunsubscribe",
		"pmessage", "psubscribe", "punsubscribe", "pong":
		return true
	}
	return false
}

// pushed takes one push message, or the error that ended it.
func (l Line) pushed(frame any, err error) error {
	if err != nil {
		return fmt.Errorf("unreadable push: %w", err)
	}
	parts, _ := frame.([]any)
	if len(parts) == 0 || parts[0] != "invalidate" || l.Push == nil {
		return fmt.Errorf("unexpected push %.60q", fmt.Sprint(frame))
	}
	return l.Push(parts)
}
